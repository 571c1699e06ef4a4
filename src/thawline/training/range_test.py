"""Learning-rate range test (Smith 2017) of a recipe, and what it suggests: a tool, not a stage.

The learning rate rises step by step on a copy of the network; the loss says where learning starts and ends.
"""

import copy
import itertools
import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from scipy.ndimage import gaussian_filter1d

from thawline import tracking
from thawline.artifacts import Artifacts, write_table
from thawline.config.errors import UserError
from thawline.config.recipe.rewards import Reward
from thawline.config.sections import Config, Finetune, Phases
from thawline.data.batches import Batch, Batches
from thawline.data.recorded import learned_from
from thawline.data.supervision import open_training
from thawline.models.device import prepare_machine
from thawline.models.layout import in_layout
from thawline.training.finetune import initial_network
from thawline.training.optimization import Group, build_optimizer
from thawline.training.recipe import lock_of, tracked
from thawline.training.run import Training

if TYPE_CHECKING:
    from thawline.training.classifier import Classifier

log = logging.getLogger(__name__)

COLUMNS = ("step", "rate", "loss", "smoothed")

LOW, HIGH, STEPS = 1e-6, 1.0, 100
SMOOTHING = 0.04
"""Deviation of the smoothing Gaussian, as a share of the steps."""
_TOO_MUCH = 4.0
"""Times its lowest value that the running mean of the loss may reach."""
_BOUND = 2.0
"""Times the first loss that any loss counts for at most where losses are smoothed."""
_MEMORY = 0.9
"""Of that running mean, per step."""


@dataclass(frozen=True)
class RangeTest:
    """A finished test. `rates`, `losses` and `smoothed` have one entry per step, fewer than asked for
    where the loss diverged. Rates are those of the fastest group; every other keeps its ratio to it."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    diverged: bool

    @property
    def steepest(self) -> float | None:
        """The rate at which the smoothed loss falls fastest, over the logarithm of the rate; None where
        it never falls by more than single steps scatter."""
        slope = np.gradient(self.smoothed, np.log(self.rates))[: self._lowest + 1]
        return self.rates[int(slope.argmin())] if self._falls else None

    @property
    def tenth_of_minimum(self) -> float | None:
        """A tenth of the rate with the lowest smoothed loss; None where `steepest` is, and where the loss
        was still falling at the end: then nothing says where it would be lowest."""
        inside = self._lowest < 0.95 * (len(self.rates) - 1)
        return self.rates[self._lowest] / 10 if self._falls and inside else None

    @property
    def _lowest(self) -> int:
        return int(np.argmin(self.smoothed))

    @property
    def _falls(self) -> bool:
        scatter = np.std(np.subtract(self.losses, self.smoothed)[: self._lowest + 1])
        return bool(self.smoothed[0] - self.smoothed[self._lowest] > scatter)

    def rows(self) -> list[dict[str, float]]:
        """Return one row per step: step, rate, loss, smoothed."""
        columns = zip(self.rates, self.losses, self.smoothed, strict=True)
        return [dict(zip(COLUMNS, (step, *values), strict=True)) for step, values in enumerate(columns)]


def loss_by_rate(
    classifier: "Classifier",
    train: Batches,
    *,
    low: float = LOW,
    high: float = HIGH,
    steps: int = STEPS,
    device: torch.device | str = "cpu",
) -> RangeTest:
    """Measure the training loss at rates that rise geometrically from `low` to `high` (Smith 2017, "Cyclical
    Learning Rates", 3.3), or until it diverges: is no number, or on the average of the last steps both
    higher than at first and four times its lowest.

    Works on a copy: network, optimizer, modes, the position in `train` and the random state are afterwards
    bit for bit what they were. Goes through the pictures as often as the steps need. Raises `UserError`
    when hardly a step gave a finite loss.

    Args:
        classifier: the training to be tested; it has not been given to a trainer yet. `low` and `high`
            are rates of its fastest group.
        device: where to compute.
    """
    if not (0 < low < high and steps > 2):
        raise ValueError(f"no range from {low} to {high} in {steps} steps")
    if not len(train):
        raise ValueError("no range without pictures")
    trial = copy.deepcopy(classifier).to(device).train()
    rates = np.geomspace(low, high, steps).tolist()
    device = torch.device(device)
    undisturbed = torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])
    with undisturbed, in_layout(trial, trial.layout):
        losses, diverged = _until_divergence(_losses(trial, train, rates, device))
    if len(losses) < 3:
        raise UserError(
            f"after {len(losses)} steps from learning rate {low:g} on, the loss is no finite number: there "
            "is no range to test.\n  look at the pictures and the weights"
        )
    # a loss that explodes would otherwise show in the steps before it
    bounded = np.minimum(losses, _BOUND * losses[0])
    smoothed = gaussian_filter1d(bounded, SMOOTHING * steps, mode="nearest").tolist()
    return RangeTest(tuple(rates[: len(losses)]), tuple(losses), tuple(smoothed), diverged)


def _losses(trial: "Classifier", train: Batches, rates: list[float], device: torch.device) -> Iterator[float]:
    optimizer = build_optimizer(trial.groups, trial.settings)
    fastest = max(group.learning_rate for group in trial.groups)
    for step, (rate, batch) in enumerate(zip(rates, _endless(train), strict=False)):
        for described, group in zip(optimizer.param_groups, trial.groups, strict=True):
            described["lr"] = rate * group.learning_rate / fastest
        trial.reseed(step)
        loss = trial.batch_loss([each.to(device) for each in batch])
        yield float(loss.detach())
        optimizer.zero_grad()
        loss.backward()
        trial.on_before_optimizer_step(optimizer)
        optimizer.step()


def _endless(train: Batches) -> Iterator[Batch]:
    # a copy, because the epoch is part of its state
    batches = copy.copy(train)
    for epoch in itertools.count():
        batches.set_epoch(epoch)
        yield from batches


def _until_divergence(losses: Iterator[float]) -> tuple[list[float], bool]:
    """Return the finite losses, and whether the last one is where they diverged."""
    kept: list[float] = []
    mean, lowest = 0.0, math.inf
    for loss in losses:
        if not math.isfinite(loss):
            return kept, True
        kept.append(loss)
        mean = _MEMORY * mean + (1 - _MEMORY) * loss
        unbiased = mean / (1 - _MEMORY ** len(kept))
        lowest = min(lowest, unbiased)
        if unbiased > max(_TOO_MUCH * lowest, kept[0]):
            return kept, True
    return kept, False


Suggestions = dict[str, dict[str, float]]
"""Values of `head_lr` and `body_lr`, as far as the recipe has them, by where they come from:
`steepest`, `tenth_of_minimum`."""

_WORDS = {"steepest": "the loss falls fastest at", "tenth_of_minimum": "a tenth of where it is lowest:"}


def range_test(config: Config, artifacts: Artifacts, draw: Callable[[RangeTest, Path], None]) -> None:
    """Test the rates of the configured recipe: write range_test.csv and, by `draw`, range_test.png, record an
    MLflow run and log what is suggested.

    Of a recipe with phases it is the last one before a reward, in which everything learns that may.
    """
    prepare_machine(config.trainer)
    initial, seed = artifacts.stage("replace_head"), config.seed * 1000
    recipe = replace(config.finetune, reward=Reward.none)
    store = open_training(artifacts)
    network, card = initial_network(recipe, initial, seed)
    training = Training(network, recipe, store, config.trainer, seed=seed, mirror=config.target.mirror)
    if training.phases[-1].solved:
        raise UserError(
            "nothing but a linear head learns: it is solved, and there is no learning rate to test.\n"
            "  test a recipe that fine-tunes more: python pipelines/range_test.py finetune.depth=0"
        )
    tags = {"architecture": card.architecture, "seed": seed, "data_fingerprint": store.fingerprint}
    tracking.connect(config.tracking.uri, config.tracking.experiment, artifacts.root)
    with tracking.run(
        "range test",
        stage="range_test",
        parameters=tracked(recipe),
        tags=tags,
        lock=lock_of(config),
        data=learned_from(config.target, store),
    ) as run:
        found, suggested = tested(training)
        folder = artifacts.stage_output("range_test")
        write_table(folder / "range_test.csv", pd.DataFrame(found.rows()))
        draw(found, folder / "range_test.png")
        run.log_history(found.rows(), step="step")
        for name, rates in suggested.items():
            run.log_metrics({f"{name}_{key}": rate for key, rate in rates.items()})
        run.log_artifact(folder)
    log.info("%s", in_words(suggested, found.diverged))


def tested(training: Training) -> tuple[RangeTest, Suggestions]:
    """Test the last phase of `training`, none of whose weights change; return that and what it suggests."""
    training.freeze(training.phases[-1])
    classifier = training.classifier(training.phases[-1])
    found = loss_by_rate(classifier, training.pictures.training(), device=training.device)
    return found, suggestions(found, classifier.groups, training.recipe)


def suggestions(found: RangeTest, groups: tuple[Group, ...], recipe: Finetune) -> Suggestions:
    """Return what each suggested rate of the fastest of `groups` means for the recipe's two rates."""
    configured = {"head_lr": recipe.head_lr, "body_lr": recipe.body_lr}
    if recipe.phases is Phases.probe_first and recipe.body_lr is not None:
        # its last phase, the one that is tested, has one rate for both
        del configured["head_lr"]
    learning = {f"{group.name.partition('.')[0]}_lr" for group in groups}
    fastest = max(group.learning_rate for group in groups)
    rates = {"steepest": found.steepest, "tenth_of_minimum": found.tenth_of_minimum}
    return {
        name: {key: rate / fastest * value for key, value in configured.items() if value and key in learning}
        for name, rate in rates.items()
        if rate is not None
    }


def in_words(suggested: Suggestions, diverged: bool) -> str:
    """Say what to tell the user, with the values as the command line takes them."""
    if not suggested:
        return "the loss fell at none of the learning rates: there is nothing to suggest"
    lines = [
        f"{_WORDS[name]} " + " ".join(f"finetune.{key}={value:.1e}" for key, value in rates.items())
        for name, rates in suggested.items()
    ]
    ending = "after that the loss diverged" if diverged else f"the loss did not diverge, not even at {HIGH:g}"
    return "\n".join([*lines, ending])
