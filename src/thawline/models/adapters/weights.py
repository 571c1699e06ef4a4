"""Learned changes of weights and biases, computed each time the layer reads them.

As parametrizations (`torch.nn.utils.parametrize`) they also reach layers whose weights another module
reads directly, as attention does, and disappear into the weights afterwards.
"""

import math
import re
from collections.abc import Callable, Collection, Iterator
from typing import cast

import torch
from torch import nn
from torch.nn.utils import parametrize

from thawline.models.steps import NORMALISATIONS
from thawline.models.tracing import Added


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


def add_low_rank(network: nn.Module, names: Collection[str], rank: int, scale: float) -> None:
    """Add `LowRank` to those of the parameters `names` that are weights of linear layers, convolutions
    and attention."""

    def change(layer: nn.Module, name: str, value: torch.Tensor) -> nn.Module | None:
        fits = isinstance(layer, _MATRICES) and name.endswith("weight")
        return LowRank(value, rank, scale) if fits else None

    _add(network, names, change)


def add_scale_and_shift(network: nn.Module, names: Collection[str]) -> None:
    """SSF (Lian et al. 2022, arXiv:2210.08823) for those of the parameters `names` that are weights and
    biases of linear layers, convolutions, attention and normalisations.

    The layer's output γ·(Wx + b) + β is computed as (γ·W)x + (b + β′): the same functions, because b
    does not learn. A layer without bias is only scaled.
    """

    def change(layer: nn.Module, name: str, value: torch.Tensor) -> nn.Module | None:
        if not isinstance(layer, (*_MATRICES, *NORMALISATIONS)):
            return None
        if name.endswith("bias"):
            return Shift(value)
        return Scale(value) if name.endswith("weight") else None

    _add(network, names, change)


def merge_weights(network: nn.Module) -> None:
    """Turn every weight and bias that is computed by the modules above into a parameter of that value."""
    for module in [*network.modules()]:
        if not parametrize.is_parametrized(module) or not _ours(module):
            continue
        values = {
            name: nn.Parameter(getattr(module, name).detach(), requires_grad=each.original.requires_grad)
            for name, each in _lists(module).items()
        }
        # remove_parametrizations takes the properties off the class, which copies of the layer share.
        module.__class__ = parametrize.type_before_parametrizations(module)
        del module.parametrizations
        for name, value in values.items():
            module.register_parameter(name, value)


_MATRICES = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.MultiheadAttention)
"""Layers whose weights are matrices or kernels with the outputs on the first axis."""


def plain_name(name: str) -> str:
    """The name a tensor of an adapted network had before."""
    return re.sub(r"(^|\.)parametrizations\.([^.]+)\.original$", r"\1\2", name)


def _add(
    network: nn.Module,
    names: Collection[str],
    change: Callable[[nn.Module, str, torch.Tensor], nn.Module | None],
) -> None:
    for layer, name, value in [*_tensors(network, set(names))]:
        added = change(layer, name, value)
        if added is not None:
            added.to(value.device, value.dtype).train(layer.training)
            parametrize.register_parametrization(layer, name, added)


def _tensors(network: nn.Module, names: set[str]) -> Iterator[tuple[nn.Module, str, nn.Parameter]]:
    for path, layer in network.named_modules():
        if not parametrize.is_parametrized(layer):  # a weight that is computed already is left alone
            for name, value in layer.named_parameters(recurse=False):
                if (f"{path}.{name}" if path else name) in names:
                    yield layer, name, value


def _ours(module: nn.Module) -> bool:
    return all(isinstance(each, Added) for steps in _lists(module).values() for each in steps)


def _lists(module: nn.Module) -> dict[str, parametrize.ParametrizationList]:
    return dict(cast(nn.ModuleDict, module.parametrizations).items())  # type: ignore[arg-type]
