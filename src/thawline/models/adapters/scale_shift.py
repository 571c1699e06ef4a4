"""SSF: a factor and a summand per output channel, in place of learning weights."""

from collections.abc import Collection, Sequence

import torch
from torch import nn

from thawline.models.adapters.added import added_parameters
from thawline.models.adapters.weights import MATRICES, change_weights
from thawline.models.cuts import Division, Unit
from thawline.models.steps import NORMALISATIONS
from thawline.models.tracing import Added


def learning(network: nn.Module) -> set[str]:
    """Return the names of the parameters that learn: those that were added."""
    return set(added_parameters(network))


def add(whole: Division, units: Sequence[Unit]) -> None:
    """Add scale and shift to every layer of `units`."""
    add_scale_and_shift(whole.trace.network, [name for unit in units for name in unit.parameters])


class Scale(Added):
    """One factor per output channel (the first axis), 1 at first."""

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(len(weight), *[1] * (weight.dim() - 1)))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight * self.factor


class Shift(Added):
    """One summand per output channel, 0 at first."""

    def __init__(self, bias: torch.Tensor) -> None:
        super().__init__()
        self.summand = nn.Parameter(torch.zeros(len(bias)))

    def forward(self, bias: torch.Tensor) -> torch.Tensor:
        return bias + self.summand


def add_scale_and_shift(network: nn.Module, names: Collection[str]) -> None:
    """Add SSF (Lian et al. 2022, arXiv:2210.08823) to those of the parameters `names` that are weights and
    biases of linear layers, convolutions, attention and normalisations.

    The layer's output γ·(Wx + b) + β is computed as (γ·W)x + (b + β′): the same functions, because b
    does not learn. A layer without bias is only scaled.
    """

    def change(layer: nn.Module, name: str, value: torch.Tensor) -> nn.Module | None:
        if not isinstance(layer, (*MATRICES, *NORMALISATIONS)):
            return None
        if name.endswith("bias"):
            return Shift(value)
        return Scale(value) if name.endswith("weight") else None

    change_weights(network, names, change)
