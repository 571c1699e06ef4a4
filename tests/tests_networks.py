"""A network small enough to train in a test, with what freezing has to get right: BatchNorm, a
residual branch and dropout. And a transformer whose attention does nothing before it is trained."""

import torch
from torch import nn

from thawline.models.freezing import PartlyFrozen, hold
from thawline.models.selection import select


def freeze(network: nn.Module, depth: int) -> PartlyFrozen:
    """Hold the first `depth` units of `network`; all others learn."""
    return hold(network, select(network, range(depth)))


def with_statistics(network: nn.Module) -> nn.Module:
    """Statistics and scales as training leaves them, not the 0 and 1 that hide mistakes."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    return network


SMALLEST = (
    *("alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s", "googlenet"),
    *("inception_v3", "maxvit_t", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "regnet_x_400mf"),
    *("regnet_y_400mf", "resnet18", "resnet50", "resnext50_32x4d", "shufflenet_v2_x0_5", "squeezenet1_0"),
    *("swin_t", "swin_v2_t", "vgg11", "vgg11_bn", "vit_b_32"),
)
"""Of each kind of block the smallest network: larger ones repeat it more often or make it wider."""


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.norm(self.conv(x)) + x)


class Small(nn.Module):
    def __init__(self, num_classes: int, width: int = 8, dropout: float = 0.1) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, stride=2, padding=1), nn.BatchNorm2d(width))
        self.blocks = nn.Sequential(Block(width), Block(width))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = self.blocks(torch.relu(self.stem(x))).mean((2, 3))
        return self.head(self.dropout(features))


class Plain(nn.Module):
    """No layer that sees more than one picture, and nothing random: parts of a batch add up to it. One
    layer is never called."""

    def __init__(self, num_classes: int, width: int = 8) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, stride=2, padding=1)
        self.block = nn.Conv2d(width, width, 3, padding=1)
        self.spare = nn.Linear(width, width)
        self.head = nn.Linear(width, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(x))
        return self.head(torch.relu(self.block(x) + x).mean((2, 3)))


class Attention(nn.Module):
    """A residual branch that starts at zero (ReZero, Bachlechner et al. 2021)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.share = nn.Parameter(torch.zeros(()))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return tokens + self.share * self.attention(tokens, tokens, tokens, need_weights=False)[0]


class ReZero(nn.Module):
    """Units `patches`, two of attention, and `mix`, in which tokens do not see each other."""

    def __init__(self, num_classes: int, width: int = 8) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 8, stride=8)
        self.blocks = nn.Sequential(Attention(width), Attention(width))
        self.mix = nn.Linear(width, width)
        self.head = nn.Linear(width, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.blocks(self.patches(x).flatten(2).transpose(1, 2))
        return self.head(torch.tanh(self.mix(tokens)).mean(1))


class Memory(nn.Module):
    """Passes on as many pictures at a time as there is room for."""

    room = 4

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) > self.room:
            raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {len(x)} pictures.")
        return x


class NoMemory(nn.Module):
    """Says what PyTorch's allocator for the CPU says."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")


class Hungry(Plain):
    """`Plain` on a machine with little memory, or with none."""

    def __init__(self, num_classes: int, memory: bool = True) -> None:
        super().__init__(num_classes)
        self.memory = Memory() if memory else NoMemory()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(self.memory(x))


class Dated(nn.Conv2d):
    """Reads only states that say of which version they are, as torchvision's MNASNet does."""

    _version = 3

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, *rest) -> None:  # type: ignore[no-untyped-def]
        if local_metadata.get("version") != 3:
            raise ValueError(f"version should be 3 instead of {local_metadata.get('version')}")
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)


class Versions(Plain):
    """`Plain` of layers whose states have versions, on both sides of every cut."""

    def __init__(self, num_classes: int, width: int = 8) -> None:
        super().__init__(num_classes, width)
        self.stem = Dated(3, width, 3, stride=2, padding=1)
        self.block = Dated(width, width, 3, padding=1)
