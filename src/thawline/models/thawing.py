"""The marks that freezing leaves on a network so that it, or a copy of it, can be thawed again."""

import types
from collections.abc import Iterable

from torch import nn

# Kept on the network itself, so that a copy of it can be thawed too.
_HELD = "_held_parameters"


def held_parameters(network: nn.Module) -> frozenset[str]:
    """Return the names of frozen parameters that would learn if nothing were frozen."""
    return frozenset(network.__dict__.get(_HELD, ()))


def hold_parameters(network: nn.Module, names: Iterable[str]) -> None:
    """Freeze parameters that could learn: no gradient now, none later, until `thaw`."""
    held = []
    for name in names:
        parameter = network.get_parameter(name)
        if parameter.requires_grad:
            parameter.requires_grad_(False)
            held.append(name)
        # an optimizer that still has the parameter moves it by its momentum unless there is no gradient
        parameter.grad = None
    network.__dict__[_HELD] = tuple(held)


def hold_mode(module: nn.Module) -> None:
    """Keep `module` in evaluation mode whatever `.train()` is called on; children decide for themselves."""
    module.training = False
    module.__dict__["train"] = types.MethodType(_stay_in_evaluation_mode, module)


def thaw(network: nn.Module) -> None:
    """Undo `hold`: parameters learn again that did before, modules follow `.train()` again,
    and until it is called have the mode of `network`."""
    for module in network.modules():
        if module.__dict__.pop("train", None) is not None:
            module.training = network.training
    for name in network.__dict__.pop(_HELD, ()):
        network.get_parameter(name).requires_grad_(True)


def _stay_in_evaluation_mode(module: nn.Module, mode: bool = True) -> nn.Module:
    for child in module.children():
        child.train(mode)
    return module
