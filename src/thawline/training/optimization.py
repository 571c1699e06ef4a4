"""From a recipe to parameter groups, an optimizer and a learning-rate schedule.

Freezing is the absence of a group: a frozen parameter is in none (DESIGN: "frozen means frozen").
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import nn

from thawline.config.sections import Optimization, OptimizerName, ScheduleName


@dataclass(frozen=True)
class Group:
    """Parameters that share a learning rate and a weight decay."""

    name: str
    parameters: tuple[nn.Parameter, ...]
    learning_rate: float
    weight_decay: float


def groups(
    name: str, parameters: Iterable[nn.Parameter], learning_rate: float, weight_decay: float
) -> tuple[Group, ...]:
    """At most two groups: matrices and kernels (two or more axes), which decay, and biases and
    normalisation parameters (one axis), which do not (He et al. 2019, "Bag of Tricks", 3.1)."""
    parameters = tuple(parameters)
    decayed = tuple(each for each in parameters if each.ndim > 1)
    others = tuple(each for each in parameters if each.ndim <= 1)
    both = (
        Group(f"{name}.decayed", decayed, learning_rate, weight_decay),
        Group(f"{name}.undecayed", others, learning_rate, 0.0),
    )
    return tuple(group for group in both if group.parameters)


def build_optimizer(groups: tuple[Group, ...], settings: Optimization) -> torch.optim.Optimizer:
    """AdamW (Loshchilov & Hutter 2019) or SGD with momentum over `groups`; fused on a GPU."""
    if not groups:
        raise ValueError("nothing to train: no parameter group")
    described = [
        {
            "params": list(group.parameters),
            "lr": group.learning_rate,
            "weight_decay": group.weight_decay,
            "name": group.name,
        }
        for group in groups
    ]
    fused = all(each.is_cuda for group in groups for each in group.parameters) or None
    if settings.optimizer is OptimizerName.sgd:
        return torch.optim.SGD(described, lr=0.0, momentum=settings.momentum, fused=fused)
    return torch.optim.AdamW(described, lr=0.0, fused=fused)


def factor(schedule: ScheduleName, warmup: float, steps: int) -> Callable[[int], float]:
    """The schedule as a function from the step (0-based, of `steps`) to a factor of the learning rate.

    Rises linearly over the first `warmup` share of the steps, never from exactly 0 (the first step
    would be wasted), then falls to 0 after the last step along half a cosine (Loshchilov & Hutter
    2017, SGDR) or a line, or stays at 1.
    """
    rising = math.ceil(warmup * steps)

    def at(step: int) -> float:
        if step < rising:
            return (step + 1) / (rising + 1)
        share = min(1.0, (step - rising) / max(1, steps - rising))
        if schedule is ScheduleName.cosine:
            return 0.5 * (1 + math.cos(math.pi * share))
        return 1 - share if schedule is ScheduleName.linear else 1.0

    return at
