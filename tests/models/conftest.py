"""Small networks of every kind, in float64 so that "equal" can mean equal."""

import copy
from collections.abc import Callable
from functools import cache, partial

import pytest
import torch
from torch import nn
from torchvision.models.convnext import CNBlockConfig, ConvNeXt
from torchvision.models.densenet import DenseNet
from torchvision.models.mobilenetv3 import InvertedResidualConfig, MobileNetV3
from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.models.shufflenetv2 import ShuffleNetV2
from torchvision.models.swin_transformer import SwinTransformer
from torchvision.models.vision_transformer import VisionTransformer

from thawline.models.zoo import build

# Several test processes share the cores: two threads each would wait for each other.
torch.set_num_threads(1)

CLASSES = 5
INVERTED = [
    InvertedResidualConfig(16, 3, 16, 16, True, "RE", 2, 1, 1),
    InvertedResidualConfig(16, 3, 32, 24, False, "RE", 2, 1, 1),
    InvertedResidualConfig(24, 5, 48, 24, True, "HS", 1, 1, 1),
]


class NarrowResNet(ResNet):
    """The steps of resnet18 with a sixteenth of its channels behind the first convolution, which has as many
    as there: so the first block, too, has a convolution beside it, and no layer is without one."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(BasicBlock, [2, 2, 2, 2])
        self.fc = nn.Linear(self.inplanes, num_classes)

    def _make_layer(self, block, planes, *rest, **more):  # type: ignore[no-untyped-def]
        return super()._make_layer(block, planes // 16, *rest, **more)


NETWORKS = {
    "resnet18": partial(NarrowResNet, CLASSES),
    "mobilenet_v3": partial(MobileNetV3, INVERTED, 32, num_classes=CLASSES),
    "shufflenet": partial(ShuffleNetV2, [2, 2, 2], [8, 16, 32, 64, 64], num_classes=CLASSES),
    "squeezenet1_1": partial(build, "squeezenet1_1", CLASSES),
    "densenet": partial(DenseNet, 4, (2, 2), 8, bn_size=2, drop_rate=0.2, num_classes=CLASSES),
    "vit": partial(VisionTransformer, 32, 8, 2, 2, 8, 16, dropout=0.1, num_classes=CLASSES),
    "swin": partial(
        SwinTransformer, [4, 4], 8, [1, 2], [1, 2], [4, 4], attention_dropout=0.1, num_classes=CLASSES
    ),
    "convnext": lambda: ConvNeXt(
        [CNBlockConfig(8, 16, 2), CNBlockConfig(16, None, 1)], 0.3, num_classes=CLASSES
    ),
}


@cache
def _built(name: str) -> nn.Module:
    torch.manual_seed(0)
    return NETWORKS[name]().double()


@pytest.fixture
def build_small_of_kind() -> Callable[[str], nn.Module]:
    return lambda name: copy.deepcopy(_built(name))


KINDS = ("squeezenet1_1", "densenet", "vit", "swin")
"""Between them: a convolution as head, BatchNorm, dropout as a layer and a function, tokens and
channels last.
`test_splitting` and `test_builders` prove that every other kind is cut exactly."""


@pytest.fixture(params=KINDS)
def network(request) -> nn.Module:
    return copy.deepcopy(_built(request.param))


@pytest.fixture
def pictures() -> torch.Tensor:
    return torch.randn(3, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def resnet() -> nn.Module:
    return copy.deepcopy(_built("resnet18"))
