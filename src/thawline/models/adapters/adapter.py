"""Bottleneck adapters: a narrow detour behind each unit."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from thawline.config.errors import UserError
from thawline.models.adapters.added import added_parameters
from thawline.models.adapters.rewriting import Rewriting, add_modules
from thawline.models.adapters.shapes import channel_axis, shapes_of
from thawline.models.cuts import Division, Unit
from thawline.models.tracing import Added

NAME = "adapters"
"""Name of the sub-module that holds them, under the indices of their units."""


class LinearAdapter(Added):
    """x + up(GELU(down(x))) along the last axis (Houlsby et al. 2019, arXiv:1902.00751).

    For (B, C), tokens (B, N, C) and channels-last (B, H, W, C). `up` starts at zero: x stays x.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.down = nn.Linear(channels, width)
        self.up = nn.Linear(width, channels)
        _silence(self.up)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        changed: torch.Tensor = self.up(functional.gelu(self.down(features)))
        return features + changed


class ConvolutionalAdapter(Added):
    """x + up(GELU(spread(down(x)))) for (B, C, H, W) (Chen et al. 2024, arXiv:2208.07463): `down` and `up`
    are 1 x 1 convolutions, `spread` is a 3 x 3 one for each channel alone. `up` starts at zero."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(channels, width, 1)
        self.spread = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.up = nn.Conv2d(width, channels, 1)
        _silence(self.up)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        changed: torch.Tensor = self.up(functional.gelu(self.spread(self.down(features))))
        return features + changed


def learning(network: nn.Module) -> set[str]:
    """Return the names of the parameters that learn: those that were added."""
    return set(added_parameters(network))


def add(whole: Division, units: Sequence[Unit], *, adapter_width: int) -> None:
    """Put an adapter behind each of `units`, at its cut.

    Raises `UserError` for a network whose units hand over other than 2 to 4 axes.
    """
    cuts = [whole.alive[unit.index + 1] for unit in units]
    shapes = shapes_of(whole.trace, cuts)
    network, rewriting = whole.trace.network, Rewriting(whole)
    made = {
        str(unit.index): _adapter(unit, shape, adapter_width)
        for unit, shape in zip(units, shapes, strict=True)
    }
    add_modules(network, NAME, nn.ModuleDict(made))
    for unit, cut in zip(units, cuts, strict=True):
        rewriting.insert(whole.positions[unit.index + 1], f"{NAME}.{unit.index}", cut)
    rewriting.install()


def _adapter(unit: Unit, shape: torch.Size, width: int) -> nn.Module:
    if len(shape) not in (2, 3, 4):
        raise UserError(
            f"unit {unit.name} hands over a tensor with {len(shape)} axes, and adapters are made for 2 to 4: "
            "(B, C), (B, N, C), (B, C, H, W) or (B, H, W, C).\n  Choose another method, such as lora."
        )
    axis = channel_axis(shape)
    spatial = len(shape) == 4 and axis == 1
    return (ConvolutionalAdapter if spatial else LinearAdapter)(shape[axis], width)


def _silence(layer: nn.Linear | nn.Conv2d) -> None:
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
