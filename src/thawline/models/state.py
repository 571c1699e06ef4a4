"""A network's state: taken out of it, and put back into it with all that belongs to it.

A state dict is more than its tensors: PyTorch keeps the version of every layer beside them, and layers that
read states of several versions refuse one without (torchvision's MNASNet) or take it for an old one. A
dictionary, a .safetensors file and an average of two states have only the tensors. Nothing else in this
package loads a state into a network.
"""

from collections.abc import Mapping

import torch
from torch import nn

from thawline.config.errors import UserError

State = Mapping[str, torch.Tensor]
"""Tensors of a network by their names in it."""


def snapshot(network: nn.Module) -> dict[str, torch.Tensor]:
    """Return a copy of every tensor of `network`. Raises `UserError` where its state is not tensors alone."""
    return {name: tensor.detach().clone() for name, tensor in tensors_of(network).items()}


def tensors_of(network: nn.Module) -> dict[str, torch.Tensor]:
    """Return the tensors of `network`, not copied. Raises `UserError` where its state holds anything else."""
    state = network.state_dict()
    others = [
        name
        for name, value in state.items()
        if not isinstance(value, torch.Tensor) or name.endswith("_extra_state")
    ]
    if others:
        raise UserError(
            f"{type(network).__name__} keeps something else than tensors in its state: {', '.join(others)}.\n"
            "  Models are stored as tensors: let it register a buffer in place of get_extra_state."
        )
    return dict(state)


def load_state(network: nn.Module, tensors: State) -> None:
    """Copy `tensors`, all that `network` has and no others, into it, as of the versions its layers have now.

    Raises `KeyError` that names what is missing or unknown, and `RuntimeError` where a shape differs.
    """
    state = network.state_dict()
    if state.keys() != tensors.keys():
        raise KeyError(f"not the same tensors: {', '.join(sorted(state.keys() ^ tensors.keys()))}")
    # a copy of it, or `state | tensors`, would lose the versions
    state.update(tensors)
    network.load_state_dict(state)


def renamed(tensors: State, inner: nn.Module, outer: nn.Module) -> dict[str, torch.Tensor]:
    """Return `tensors`, which `inner` has held, by their names in `outer`, a network that shares all of its
    tensors, and on the devices of these; what `outer` alone has is copied from it.

    Raises `KeyError` that names what is not shared.
    """
    # both are held to the end, or an address could be that of two tensors
    mine, whole = inner.state_dict(keep_vars=True), outer.state_dict(keep_vars=True)
    names = {id(tensor): name for name, tensor in mine.items()}
    if alone := names.keys() - {id(tensor) for tensor in whole.values()}:
        raise KeyError(f"not shared: {', '.join(sorted(names[each] for each in alone))}")
    return {
        name: tensors[names[id(tensor)]].to(tensor.device) if id(tensor) in names else tensor.detach().clone()
        for name, tensor in whole.items()
    }
