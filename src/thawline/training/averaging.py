"""Weights averaged: along one training (EMA), with where it started (WiSE-FT), and over trainings (soup)."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

State = Mapping[str, torch.Tensor]
"""Tensors of a network by their names in it."""


def moving_average(network: nn.Module, decay: float) -> AveragedModel:
    """PyTorch's exponential moving average of `network`, its float buffers (BatchNorm statistics) included.

    It starts from the weights after the first step. Integer buffers, which only count, are copied: their
    average would be rounded, and one in a frozen layer would change.
    """
    average = get_ema_multi_avg_fn(decay)

    def update(averaged: Any, current: Any, count: Any) -> None:
        if averaged[0].is_floating_point():
            average(averaged, current, count)
        else:
            for old, new in zip(averaged, current, strict=True):
                old.copy_(new)

    return AveragedModel(network, multi_avg_fn=update, use_buffers=True)


def snapshot(network: nn.Module) -> dict[str, torch.Tensor]:
    """A copy of every tensor of `network`."""
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def towards(start: State, end: State, share: float, but: Collection[str] = ()) -> dict[str, torch.Tensor]:
    """`end` with its float tensors moved back to lie at `share` of the way from `start`; 1 is `end` itself.

    Tensors named in `but`, absent from `start` or not of floats are `end`'s. Equal tensors stay equal bit
    for bit, so what is frozen stays as it is (Wortsman et al. 2022a, WiSE-FT).
    """
    return {
        name: torch.lerp(start[name], tensor, share)
        if name in start and name not in but and tensor.is_floating_point()
        else tensor
        for name, tensor in end.items()
    }


def greedy_soup(
    states: Sequence[State],
    scores: Sequence[tuple[float, float]],
    score: Callable[[State], tuple[float, float]],
) -> tuple[State, list[int]]:
    """The average of some of `states`, and which of them (Wortsman et al. 2022b, recipe 1).

    From the best state on, each next one joins if the average with it has an accuracy that is not lower.

    Args:
        states: several trainings' tensors, from one initial state.
        scores: (validation accuracy, validation loss) of each; ties go to the lower loss.
        score: those of an average.
    """
    order = sorted(range(len(states)), key=lambda index: (-scores[index][0], scores[index][1], index))
    used = order[:1]
    soup, accuracy = states[used[0]], scores[used[0]][0]
    for index in order[1:]:
        candidate = towards(soup, states[index], 1 / (len(used) + 1))
        found = score(candidate)[0]
        if found >= accuracy:
            soup, accuracy = candidate, found
            used.append(index)
    return soup, used


@torch.no_grad()
def estimate_statistics(network: nn.Module, moving: Collection[str], batches: Iterable[torch.Tensor]) -> None:
    """Measure the statistics of the BatchNorm layers at the paths `moving` anew, all others stay.

    Averaged weights make other activations than those the averaged statistics describe (Izmailov et
    al. 2018, 3.2). PyTorch's `update_bn` would reset frozen layers too, and let dropout work. Every
    picture counts alike; each batch should hold several.

    batches: images (B, C, H, W). Leaves all modules in evaluation mode.
    """
    layers = [layer for path, layer in network.named_modules() if path in moving]
    norms = [layer for layer in layers if isinstance(layer, _BatchNorm) and layer.track_running_stats]
    network.eval()
    if not norms:
        return
    with _measuring(norms):
        seen = 0
        for images in batches:
            seen += len(images)
            for norm in norms:
                norm.momentum = len(images) / seen
            network(images)


@contextmanager
def _measuring(norms: list[_BatchNorm]) -> Iterator[None]:
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        # not norm.train(): a held layer may refuse to change its mode
        norm.training = True
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum, norm.training = momentum, False
