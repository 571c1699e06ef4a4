"""Learned changes of weights and biases, computed each time the layer reads them.

As parametrizations (`torch.nn.utils.parametrize`) they also reach layers whose weights another module
reads directly, as attention does, and disappear into the weights afterwards.
"""

import re
from collections.abc import Callable, Collection, Iterator
from typing import cast

import torch
from torch import nn
from torch.nn.utils import parametrize

from thawline.models.tracing import Added

MATRICES = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.MultiheadAttention)
"""Layers whose weights are matrices or kernels with the outputs on the first axis."""


def change_weights(
    network: nn.Module,
    names: Collection[str],
    change: Callable[[nn.Module, str, torch.Tensor], nn.Module | None],
) -> None:
    """Let those of the parameters `names` be computed by what `change` makes of the layer, the parameter's
    own name and its value; it returns None for what stays as it is. Weights that are computed already stay,
    too."""
    for layer, name, value in [*_tensors(network, set(names))]:
        added = change(layer, name, value)
        if added is not None:
            added.to(value.device, value.dtype).train(layer.training)
            parametrize.register_parametrization(layer, name, added)


def merge_weights(network: nn.Module) -> None:
    """Turn every weight and bias that is computed by what a method added into a parameter of that value."""
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


def plain_name(name: str) -> str:
    """Return the name a tensor of an adapted network had before."""
    return re.sub(r"(^|\.)parametrizations\.([^.]+)\.original$", r"\1\2", name)


def _tensors(network: nn.Module, names: set[str]) -> Iterator[tuple[nn.Module, str, nn.Parameter]]:
    for path, layer in network.named_modules():
        if not parametrize.is_parametrized(layer):
            for name, value in layer.named_parameters(recurse=False):
                if (f"{path}.{name}" if path else name) in names:
                    yield layer, name, value


def _ours(module: nn.Module) -> bool:
    return all(isinstance(each, Added) for steps in _lists(module).values() for each in steps)


def _lists(module: nn.Module) -> dict[str, parametrize.ParametrizationList]:
    return dict(cast(nn.ModuleDict, module.parametrizations).items())  # type: ignore[arg-type]
