"""LoRA: a change of low rank for every weight matrix and kernel."""

import math
from collections.abc import Collection, Sequence

import torch
from torch import nn

from thawline.models.adapters.added import added_parameters
from thawline.models.adapters.weights import MATRICES, change_weights
from thawline.models.cuts import Division, Unit
from thawline.models.tracing import Added


def learning(network: nn.Module) -> set[str]:
    """Return the names of the parameters that learn: those that were added."""
    return set(added_parameters(network))


def add(whole: Division, units: Sequence[Unit], *, lora_rank: int, lora_scale: float) -> None:
    """Add a change of low rank to every matrix and kernel of `units`."""
    names = [name for unit in units for name in unit.parameters]
    add_low_rank(whole.trace.network, names, lora_rank, lora_scale)


class LowRank(Added):
    """LoRA (Hu et al. 2022, arXiv:2106.09685): weight + scale · B · A.

    The weight is seen as a matrix of (outputs, everything else): a kernel (O, I, h, w) as O × Ihw, a grouped
    one likewise, stacked projections of attention as 3D × D. A is (rank, columns), random; B is
    (rows, rank), zero, so that nothing changes at first. `rank` is cut to what the matrix can have.
    """

    def __init__(self, weight: torch.Tensor, rank: int, scale: float) -> None:
        super().__init__()
        rows, columns = weight.flatten(1).shape
        rank = min(rank, rows, columns)
        self.scale = scale
        self.a = nn.Parameter(torch.empty(rank, columns))
        self.b = nn.Parameter(torch.zeros(rows, rank))
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight + self.scale * (self.b @ self.a).view_as(weight)


def add_low_rank(network: nn.Module, names: Collection[str], rank: int, scale: float) -> None:
    """Add `LowRank` to those of the parameters `names` that are weights of linear layers, convolutions
    and attention."""

    def change(layer: nn.Module, name: str, value: torch.Tensor) -> nn.Module | None:
        fits = isinstance(layer, MATRICES) and name.endswith("weight")
        return LowRank(value, rank, scale) if fits else None

    change_weights(network, names, change)
