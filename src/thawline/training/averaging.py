"""Weights averaged: along one training (EMA), with where it started (WiSE-FT), and over trainings (soup)."""

import copy
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import chain

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim.swa_utils import get_ema_multi_avg_fn

from thawline.models.state import State


class MovingAverage(nn.Module):
    """An exponential moving average of what learns or moves in `network`, in a copy of it, `module`.

    It starts from the weights after the first step. Averaged are the parameters that require a gradient
    and the statistics of normalisation layers in training mode; other buffers of layers in training mode
    (counts) are copied. Everything else is not touched, and keeps its bits: the average of -0.0 and -0.0
    would be 0.0. PyTorch's `AveragedModel` averages it all, and reads its counter from the GPU at every step.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__()
        self.module = copy.deepcopy(network)
        self.steps = 0
        self._average = get_ema_multi_avg_fn(decay)

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take in `network`, the one this was made from, after an optimizer step."""
        averaged, copied = _changing(network)
        pairs = list(zip(_tensors(self.module), _tensors(network), strict=True))
        taken = [(old, new) for old, new in pairs if id(new) in averaged]
        if self.steps and taken:
            self._average([old for old, _ in taken], [new for _, new in taken], self.steps)
        for old, new in pairs:
            if id(new) in copied or (id(new) in averaged and not self.steps):
                old.copy_(new)
        self.steps += 1

    def get_extra_state(self) -> int:
        return self.steps

    def set_extra_state(self, state: int) -> None:
        self.steps = state


def _tensors(network: nn.Module) -> Iterator[torch.Tensor]:
    return chain(network.parameters(), network.buffers())


def _changing(network: nn.Module) -> tuple[set[int], set[int]]:
    """Return the identities of the tensors of `network` that are averaged, and of those that are copied."""
    averaged = {id(parameter) for parameter in network.parameters() if parameter.requires_grad}
    copied: set[int] = set()
    for module in network.modules():
        if module.training:
            for buffer in module.buffers(recurse=False):
                statistic = isinstance(module, _NormBase) and buffer.is_floating_point()
                (averaged if statistic else copied).add(id(buffer))
    return averaged, copied


def towards(start: State, end: State, share: float, but: Collection[str] = ()) -> dict[str, torch.Tensor]:
    """Return `end` with its float tensors moved back to lie at `share` of the way from `start`; 1 is `end`
    itself (Wortsman et al. 2022a, WiSE-FT).

    Tensors named in `but`, absent from `start`, not of floats or equal in both are `end`'s, so what is
    frozen keeps its bits: half the way from -0.0 to -0.0 may be 0.0.
    """
    return {
        name: torch.lerp(start[name], tensor, share)
        if name in start
        and name not in but
        and tensor.is_floating_point()
        and not torch.equal(start[name], tensor)
        else tensor
        for name, tensor in end.items()
    }


def greedy_soup(
    states: Sequence[State],
    scores: Sequence[tuple[float, float]],
    score: Callable[[State], float],
) -> tuple[State, list[int]]:
    """Return the average of some of `states`, and which of them (Wortsman et al. 2022b, recipe 1).

    From the best state on, each next one joins if the average with it has an accuracy that is not lower.

    Args:
        states: several trainings' tensors, from one initial state.
        scores: (validation accuracy, validation loss) of each; ties go to the lower loss.
        score: the validation accuracy of an average.
    """
    order = sorted(range(len(states)), key=lambda index: (-scores[index][0], scores[index][1], index))
    used = order[:1]
    soup, accuracy = states[used[0]], scores[used[0]][0]
    for index in order[1:]:
        candidate = towards(soup, states[index], 1 / (len(used) + 1))
        found = score(candidate)
        if found >= accuracy:
            soup, accuracy = candidate, found
            used.append(index)
    return soup, used
