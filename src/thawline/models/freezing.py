"""Frozen means frozen: no gradient, no change of a buffer, evaluation mode whatever is called."""

import hashlib
from collections.abc import Callable
from typing import Self

import torch
from torch import nn

from thawline.models.cuts import Division, divide, divide_anew
from thawline.models.modes import frozen_modules, told_to_evaluate
from thawline.models.selection import Selection, batch_norms, quiet_units
from thawline.models.splitting import part, require_rows, rest, share_again
from thawline.models.thawing import hold_mode, hold_parameters, thaw


class PartlyFrozen(nn.Module):
    """A frozen prefix and a trainable suffix, called one after the other.

    `.train()` reaches the suffix only. What the prefix returns carries no gradient, so it may be
    stored and given to `suffix` later. `depth` is the number of units in the prefix.
    """

    _network: nn.Module

    def __init__(self, network: nn.Module, prefix: nn.Module, suffix: nn.Module, depth: int) -> None:
        super().__init__()
        self.depth = depth
        self.prefix = prefix
        self.suffix = suffix
        # Not a sub-module: its tensors are those of the two sides.
        self.__dict__["_network"] = network

    def train(self, mode: bool = True) -> Self:
        """Put the suffix into `mode`; the prefix stays in evaluation mode."""
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
        """Return the prefix's output for `(B, C, H, W)` pictures: one row per picture, without gradient.

        Raises `UserError` when the network does not keep pictures apart at this depth.
        """
        with torch.no_grad():
            features: torch.Tensor = self.prefix(pictures)
        require_rows(features, pictures)
        return features

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Return `(B, classes)` logits of pictures."""
        features = self.features(pictures)
        output: torch.Tensor = self.suffix(features)
        return output


def hold(network: nn.Module, selection: Selection) -> PartlyFrozen:
    """Freeze `network` so that exactly what is selected can change; `thaw` undoes all of it.

    The leading units in which nothing learns and no statistics move are the prefix, computed without
    gradient; where a head reads several cuts, no more than those before the first one, unless it is all
    units. Every parameter that is not selected has `requires_grad=False` and `grad=None`. What only frozen
    units use stays in evaluation mode whatever `.train()` is called (no dropout, no stochastic depth), and
    so does every BatchNorm layer that is not `moving`; those that are follow `.train()` even in a frozen
    unit. Dropout that frozen and other units share, and dropout that is a function, is off in the frozen
    ones when the returned module is called, not when `network` itself is.

    Raises:
        ValueError: the selection names parameters or layers that the network does not have.
    """
    _require_known(network, selection)
    thaw(network)
    whole = divide(network)
    depth = quiet_units(whole, selection)
    still = frozen_modules(whole, selection.frozen, depth)
    prefix, suffix, twins = _sides(whole, selection, depth)
    present = {path for path, _ in suffix.named_modules()}
    still |= {path for path, _ in network.named_modules() if path not in present}
    still = (still | batch_norms(network).keys() | twins) - selection.moving
    named = [*network.named_modules(), *suffix.named_modules()]
    for module in [*prefix.modules(), *(module for path, module in named if path in still)]:
        hold_mode(module)
    names = [name for name, _ in network.named_parameters() if name not in selection.parameters]
    hold_parameters(network, names)
    return PartlyFrozen(network, prefix, suffix, depth)


def _sides(whole: Division, selection: Selection, depth: int) -> tuple[nn.Module, nn.Module, frozenset[str]]:
    prefix = part(whole, 0, depth)
    if all(index < depth for index in selection.frozen):
        return prefix, part(whole, depth), frozenset()
    # frozen units behind others: the steps themselves have to know, those of a division of their own
    whole = divide_anew(whole.trace.network)
    told, twins = told_to_evaluate(whole, selection.frozen, depth, selection.moving)
    return prefix, rest(told, depth), twins


def _require_known(network: nn.Module, selection: Selection) -> None:
    known = {name for name, _ in network.named_parameters()} | {path for path, _ in network.named_modules()}
    unknown = sorted((selection.parameters | selection.moving) - known)
    if unknown:
        raise ValueError(f"not in the network: {', '.join(unknown)}")


def state_hashes(network: nn.Module, known: dict[int, str] | None = None) -> dict[str, str]:
    """Return the SHA-256 of every parameter and buffer (type, shape and bytes), by name; buffers that are not
    saved count, too, and a shared tensor has one of its names.

    known: hashes of tensors, by their `id`, that are not computed again; gains the others.
    """
    known = {} if known is None else known
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    for tensor in tensors.values():
        if id(tensor) not in known:
            known[id(tensor)] = _tensor_hash(tensor)
    return {name: known[id(tensor)] for name, tensor in tensors.items()}


def _tensor_hash(tensor: torch.Tensor) -> str:
    content = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)}".encode() + content.tobytes()).hexdigest()
