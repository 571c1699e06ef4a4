"""A network whose BatchNorm is part of its convolutions computes the same, but for rounding."""

import pytest
import torch
from tests_networks import with_statistics
from torch import nn

from thawline.models.cuts import units
from thawline.models.folding import folded
from thawline.models.freezing import state_hashes
from thawline.models.splitting import split
from thawline.models.zoo import build


@pytest.mark.parametrize("architecture", ["resnet18", "timm:tf_efficientnet_lite0"])
@torch.no_grad()
def test_batch_normalisation_becomes_part_of_the_convolution_before_it(architecture: str) -> None:
    network = with_statistics(build(architecture, 2, seed=0)).eval()
    before = state_hashes(network)
    side, _ = split(network, len(units(network)))
    fast = folded(side)
    assert any(isinstance(each, nn.BatchNorm2d) for each in side.modules())
    assert not any(isinstance(each, nn.BatchNorm2d) for each in fast.modules())
    pictures = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    expected = side(pictures)
    torch.testing.assert_close(fast(pictures), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    assert state_hashes(network) == before


def test_other_layers_are_shared_and_where_nothing_is_folded_nothing_is_copied() -> None:
    network = with_statistics(build("resnet18", 2, seed=0)).eval()
    side, _ = split(network, len(units(network)))
    held = {id(each) for each in side.modules()}
    assert any(id(each) in held for each in folded(side).modules() if isinstance(each, nn.MaxPool2d))
    plain, _ = split(build("tests_networks.Plain", 2, seed=0).eval(), 2)
    assert folded(plain) is plain
    network.train()
    assert folded(side) is side


class Shared(nn.Module):
    """One convolution in two places, one of them followed by BatchNorm; one whose output is read twice."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel, self.norm = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)
        self.twice, self.after = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
        self.head = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.kernel(self.kernel(x)))
        y = self.twice(x)
        return self.head((self.after(y) + y).mean((2, 3)))


def test_what_something_else_reads_too_stays_as_it_is() -> None:
    network = with_statistics(Shared()).eval()
    traced = torch.fx.symbolic_trace(network)
    pictures = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(folded(traced)(pictures), network(pictures))


def test_a_layer_of_somebodys_own_may_compute_something_else_and_stays() -> None:
    class Doubled(nn.BatchNorm2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(x)

    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kernel, self.norm, self.head = nn.Conv2d(3, 3, 3), Doubled(3), nn.Linear(3, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.norm(self.kernel(x)).mean((2, 3)))

    network = with_statistics(Own()).eval()
    side, _ = split(network, len(units(network)))
    pictures = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        assert torch.equal(folded(side)(pictures), side(pictures))


class Read(nn.Module):
    """A convolution whose kernel something else reads, too."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel, self.norm, self.head = nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3), nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.kernel(x)) * self.kernel.weight.mean()
        return self.head(x.mean((2, 3)))


@pytest.mark.parametrize("hooked", [False, True])
@torch.no_grad()
def test_a_kernel_that_is_read_elsewhere_or_has_a_hook_stays(hooked: bool) -> None:
    network = with_statistics(Read() if not hooked else build("resnet18", 2, seed=0)).eval()
    side, _ = split(network, len(units(network)))
    if hooked:
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d):
                layer.register_forward_hook(lambda layer, given, made: made + 1)  # noqa: ARG005
    assert folded(side) is side
