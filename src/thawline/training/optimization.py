"""From rates to parameter groups, an optimizer and a learning-rate schedule.

Freezing is the absence of a group: a frozen parameter is in none (docs/architecture.md).
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import nn

from thawline.config.sections import Optimization, OptimizerName, ScheduleName

ONE_CYCLE_START, ONE_CYCLE_END = 1 / 25, 1 / 25e4
"""First and last factor of one_cycle: those of torch.optim.lr_scheduler.OneCycleLR."""

FUSED = ("cpu", "cuda")
"""Devices on which one kernel makes the whole step of AdamW or SGD."""

STEPS_DOWN = (0.3, 0.6, 0.9)
"""Shares of all steps after which the step schedule falls to a tenth (Kolesnikov et al. 2020, BiT)."""


@dataclass(frozen=True)
class Group:
    """Parameters that share a learning rate and a weight decay."""

    name: str
    parameters: tuple[torch.Tensor, ...]
    learning_rate: float
    weight_decay: float


def groups(
    name: str,
    parameters: Iterable[nn.Parameter],
    learning_rate: float,
    weight_decay: float,
    *,
    decay_all: bool = False,
) -> tuple[Group, ...]:
    """Return at most two groups: matrices and kernels, which decay, and biases, normalisation parameters and
    other scales and tokens (one axis longer than 1), which do not (He et al. 2019, "Bag of Tricks", 3.1)
    unless `decay_all`. Without weight decay it is one: the step of a small group is mostly the call."""
    parameters = tuple(parameters)
    # a factor per channel of a kernel has its shape (C, 1, 1, 1), and must not be drawn to zero
    decays = [
        weight_decay > 0 and (decay_all or sum(side > 1 for side in each.shape) > 1) for each in parameters
    ]
    decayed = tuple(each for each, does in zip(parameters, decays, strict=True) if does)
    others = tuple(each for each, does in zip(parameters, decays, strict=True) if not does)
    both = (
        Group(f"{name}.decayed", decayed, learning_rate, weight_decay),
        Group(f"{name}.undecayed", others, learning_rate, 0.0),
    )
    return tuple(group for group in both if group.parameters)


def build_optimizer(groups: tuple[Group, ...], settings: Optimization) -> torch.optim.Optimizer:
    """Build AdamW (Loshchilov & Hutter 2019), SGD with momentum or LAMB (You et al. 2020; timm's).

    AdamW and SGD are fused where PyTorch can: on a CPU, AdamW then needs a third to a sixth of the time for
    a step of a ResNet-18.
    """
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
    if settings.optimizer is OptimizerName.lamb:
        from timm.optim import Lamb  # timm takes a second to load

        # the paper's algorithm: timm would clip the whole gradient first
        optimizer: torch.optim.Optimizer = Lamb(described, lr=0.0, max_grad_norm=None)
        return optimizer
    fused = all(each.device.type in FUSED for group in groups for each in group.parameters) or None
    if settings.optimizer is OptimizerName.sgd:
        return torch.optim.SGD(described, lr=0.0, momentum=settings.momentum, fused=fused)
    return torch.optim.AdamW(described, lr=0.0, fused=fused)


@dataclass(frozen=True)
class Span:
    """The epochs one learning-rate schedule runs over: `epochs` of them, from epoch `first` on."""

    first: int
    epochs: int


def factor(schedule: ScheduleName, warmup: float, steps: int) -> Callable[[int], float]:
    """Return the schedule as a function from the step (0-based, of `steps`) to a factor of the learning rate.

    Rises linearly over the first `warmup` share of the steps, never from exactly 0 (the first step
    would be wasted), then falls to 0 after the last step along half a cosine (Loshchilov & Hutter
    2017, SGDR) or a line, falls to a tenth at each of `STEPS_DOWN`, or stays at 1. one_cycle rises and
    falls along half cosines, from `ONE_CYCLE_START` to `ONE_CYCLE_END` (Smith & Topin 2019).
    """
    if schedule is ScheduleName.one_cycle:
        return _one_cycle(warmup, steps)
    rising = math.ceil(warmup * steps)

    def at(step: int) -> float:
        if step < rising:
            return (step + 1) / (rising + 1)
        if schedule is ScheduleName.step:
            return 0.1 ** sum(step >= share * steps for share in STEPS_DOWN)
        share = min(1.0, (step - rising) / max(1, steps - rising))
        if schedule is ScheduleName.cosine:
            return _along_cosine(1.0, 0.0, share)
        return 1 - share if schedule is ScheduleName.linear else 1.0

    return at


def _one_cycle(warmup: float, steps: int) -> Callable[[int], float]:
    top, last = warmup * steps - 1, steps - 1

    def at(step: int) -> float:
        if step < top:
            return _along_cosine(ONE_CYCLE_START, 1.0, step / top)
        return _along_cosine(1.0, ONE_CYCLE_END, min(1.0, (step - top) / (last - top)))

    return at


def _along_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * share))
