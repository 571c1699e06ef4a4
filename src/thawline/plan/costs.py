"""What a picture costs on this machine: a forward pass, and a training step from each depth on."""

import logging
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
import torch
from torch import nn

from thawline.config.sections import Finetune
from thawline.models.cuts import logits_of, units
from thawline.models.depth import frozen_units
from thawline.models.freezing import PartlyFrozen, hold
from thawline.models.layout import in_layout, laid_out, layout_of
from thawline.models.randomness import own_randomness
from thawline.models.selection import select
from thawline.models.state import load_state, snapshot
from thawline.models.thawing import thaw
from thawline.training.cost import parameters
from thawline.training.loss import cross_entropy

log = logging.getLogger(__name__)

STEPS, PASSES = 5, 3
"""Steps, and passes without learning, of which the median counts, after one that does not."""

CLEAR = 1.25
"""How many times as fast another way must be before float32 is left for it."""

FEW, HOPELESS = 2, 2.0
"""A way that takes so many times as long as the best so far to show the network a few pictures is not timed
further: a processor that only emulates bfloat16 took a minute for steps that float32 did in five seconds."""


@dataclass(frozen=True)
class StepCost:
    """Seconds for each picture: of the frozen prefix, of the suffix forward, and of a training step of it."""

    prefix: float
    suffix: float
    step: float


@dataclass(frozen=True)
class Costs:
    """What was timed: a step at some depths, ascending, in the precision that won (`half`: bfloat16)."""

    at: dict[int, StepCost]
    half: bool

    def of(self, depth: int) -> StepCost:
        """Return what a picture costs at `depth`: what was timed there, or in a straight line between."""
        known = sorted(self.at)
        each = {
            name: np.interp(depth, known, [getattr(self.at[one], name) for one in known])
            for name in ("prefix", "suffix", "step")
        }
        return StepCost(**{name: float(value) for name, value in each.items()})


def timed(
    network: nn.Module,
    recipe: Finetune,
    pictures: torch.Tensor,
    labels: torch.Tensor,
    depths: Collection[int],
    halves: Sequence[bool] = (False, True),
) -> Costs:
    """Time training steps of `network` at each of `depths`, in the precision that is fastest at the least.

    Args:
        pictures: (B, C, H, W), on the device to compute on; the network is moved there, trained by no step,
            and comes back on the CPU as it was.
        labels: (B,).
        halves: the precisions to compare, False for float32. It stays unless bfloat16 is `CLEAR` times as
            fast (on a processor without it, it is several times slower).
    """
    before = snapshot(network)
    layout = layout_of(network)
    try:
        network.to(pictures.device)
        pictures = laid_out(pictures, layout)
        with in_layout(network, layout), own_randomness(0):
            first = min(depths)
            best, half = _steps(network, recipe, pictures, labels, first, halves[0]), halves[0]
            for other in halves[1:]:
                few = [_passing(network, pictures[:FEW], each) for each in (half, other)]
                # on a GPU few pictures say nothing, and all of them take no time
                if few[1] >= HOPELESS * few[0] and pictures.device.type == "cpu":
                    _say("a pass", other, few[1] / few[0], half)
                    continue
                found = _steps(network, recipe, pictures, labels, first, other)
                _say("a step", other, found.step / best.step, half)
                if found.step * CLEAR <= best.step:
                    best, half = found, other
            rest = [depth for depth in depths if depth != first]
            at = {depth: _steps(network, recipe, pictures, labels, depth, half) for depth in rest}
        return Costs({first: best, **at}, half)
    finally:
        thaw(network)
        load_state(network.cpu(), before)


def _say(what: str, one: bool, ratio: float, other: bool) -> None:
    names = ["bfloat16" if half else "float32" for half in (one, other)]
    log.info("%s in %s takes %.2f times as long as in %s", what, names[0], ratio, names[1])


def _passing(network: nn.Module, pictures: torch.Tensor, half: bool) -> float:
    """Return the seconds that a pass through the whole network takes for each picture."""
    network.eval()
    with torch.autocast(pictures.device.type, torch.bfloat16, enabled=half), torch.no_grad():
        return _median(lambda: network(pictures), len(pictures), 1)


def _steps(
    network: nn.Module,
    recipe: Finetune,
    pictures: torch.Tensor,
    labels: torch.Tensor,
    depth: int,
    half: bool,
) -> StepCost:
    """Time what a step at `depth` consists of."""
    stepping = _stepping(network, recipe, pictures, labels, depth, half)
    held = _held(network, recipe, depth).eval()
    with torch.autocast(pictures.device.type, torch.bfloat16, enabled=half), torch.no_grad():
        features = held.features(pictures)
        prefix = _median(lambda: held.features(pictures), len(pictures), PASSES) if depth else 0.0
        suffix = _median(lambda: held.suffix(features), len(pictures), PASSES)
    return StepCost(prefix, min(suffix, stepping), stepping)


def _stepping(
    network: nn.Module,
    recipe: Finetune,
    pictures: torch.Tensor,
    labels: torch.Tensor,
    depth: int,
    half: bool,
) -> float:
    """Return the seconds that a training step takes for each picture."""
    held = _held(network, recipe, depth)
    learning = [each for each in held.parameters() if each.requires_grad]
    with torch.autocast(pictures.device.type, torch.bfloat16, enabled=half):
        features = held.features(pictures)
        held.train()

        def step() -> None:
            loss = cross_entropy(logits_of(held.suffix(features))[0], labels)
            torch.autograd.grad(loss, learning, allow_unused=True)

        return _median(step, len(pictures), STEPS)


def _held(network: nn.Module, recipe: Finetune, depth: int) -> PartlyFrozen:
    frozen = frozen_units(depth, None, units(network))
    selection = select(
        network, frozen, frozen_batch_norm=recipe.frozen_batch_norm, batch_norm=recipe.batch_norm
    )
    held = hold(network, selection)
    assert parameters(held)[0]
    return held


def _median(work: Callable[[], object], pictures: int, calls: int) -> float:
    """Return seconds for each of `pictures`: the median of some calls after one that warms up."""
    found: list[float] = []
    for _ in range(calls + 1):
        started = time.perf_counter()
        work()
        _wait()
        found.append((time.perf_counter() - started) / pictures)
    return median(found[1:])


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
