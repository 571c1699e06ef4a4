"""Frozen means frozen: no gradient, no change of a buffer, evaluation mode whatever is called."""

import hashlib
import types
from collections.abc import Callable, Collection
from typing import NamedTuple, Self

import torch
from torch import nn

from thawline.models.splitting import require_rows, share_again, split

# Attribute of a frozen network, on the network so that a copy of it can be thawed too.
_FROZEN = "_frozen_parameters"


class PartlyFrozen(nn.Module):
    """A frozen prefix and a trainable suffix, called one after the other.

    `.train()` reaches the suffix only. What the prefix returns carries no gradient, so it may be
    stored and given to `suffix` later.
    """

    _network: nn.Module

    def __init__(self, network: nn.Module, prefix: nn.Module, suffix: nn.Module) -> None:
        super().__init__()
        self.prefix = prefix
        self.suffix = suffix
        # Not a sub-module: its tensors are those of the two sides.
        self.__dict__["_network"] = network

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self.prefix.eval()
        return self

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Self:
        # A move to another device or type replaces buffers: move the network, then share them again.
        super()._apply(fn, recurse)
        self._network._apply(fn, recurse)
        for side in (self.prefix, self.suffix):
            share_again(side, self._network)
        return self

    def features(self, pictures: torch.Tensor) -> torch.Tensor:
        """What the prefix makes of `(B, C, H, W)` pictures: one row per picture, without gradient.

        Raises `UserError` when the network does not keep pictures apart at this depth.
        """
        with torch.no_grad():
            features: torch.Tensor = self.prefix(pictures)
        require_rows(features, pictures)
        return features

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.suffix(self.features(pictures))
        return output


def freeze(network: nn.Module, depth: int) -> PartlyFrozen:
    """Freeze the first `depth` units of `network` and thaw the others.

    Frozen parameters have `requires_grad=False` and `grad=None`; frozen layers stay in evaluation
    mode whatever `.train()` is called, so that their buffers never change. Frozen too is what is left
    out of the suffix: auxiliary heads that branch off inside the prefix. `thaw` undoes all of it.
    Raises `ValueError` unless `depth` is from 0 to the number of units.
    """
    thaw(network)
    prefix, suffix = split(network, depth)
    trained = {id(parameter) for parameter in suffix.parameters()}
    frozen = {n: p for n, p in network.named_parameters() if id(p) not in trained and p.requires_grad}
    for parameter in frozen.values():
        parameter.requires_grad_(False)
        parameter.grad = None
    network.__dict__[_FROZEN] = tuple(frozen)
    working = {path for path, _ in suffix.named_modules()}
    idle = [module for path, module in network.named_modules() if path not in working]
    for module in [*idle, *prefix.modules()]:
        module.eval()
        module.__dict__["train"] = types.MethodType(_stay_in_evaluation_mode, module)
    return PartlyFrozen(network, prefix, suffix)


def thaw(network: nn.Module) -> None:
    """Undo `freeze`: parameters it froze can be trained again, and modules follow `.train()`."""
    for module in network.modules():
        module.__dict__.pop("train", None)
    frozen = set(network.__dict__.pop(_FROZEN, ()))
    for name, parameter in network.named_parameters():
        if name in frozen:
            parameter.requires_grad_(True)


def _stay_in_evaluation_mode(module: nn.Module, mode: bool = True) -> nn.Module:  # noqa: ARG001
    return module


class Trainable(NamedTuple):
    """The parameters to optimise, by their names in the network."""

    body: dict[str, nn.Parameter]
    head: dict[str, nn.Parameter]


def trainable_parameters(network: nn.Module, initialised: Collection[str]) -> Trainable:
    """What may be trained: copied from the source model (`body`), or random at the start (`head`).

    `initialised` are the names of the tensors that started random, as an `Accounting` or a card lists
    them. Raises `ValueError` when one of them is not in the network.
    """
    unknown = sorted(set(initialised) - network.state_dict().keys())
    if unknown:
        raise ValueError(f"not in the network: {', '.join(unknown)}")
    free = {name: tensor for name, tensor in network.named_parameters() if tensor.requires_grad}
    head = {name: tensor for name, tensor in free.items() if name in set(initialised)}
    return Trainable({name: tensor for name, tensor in free.items() if name not in head}, head)


def state_hashes(network: nn.Module) -> dict[str, str]:
    """SHA-256 of every parameter and buffer (type, shape and bytes), by its name in the network."""
    tensors = dict(network.named_parameters()) | dict(network.named_buffers())
    return {name: _tensor_hash(tensor) for name, tensor in tensors.items()}


def _tensor_hash(tensor: torch.Tensor) -> str:
    content = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)}".encode() + content.tobytes()).hexdigest()
