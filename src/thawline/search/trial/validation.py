"""How a recipe is validated: trained on some pictures and asked about others, none of them a test picture."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from thawline.artifacts import MODEL, card_beside
from thawline.config.choices import Keep, PrunerName
from thawline.config.sections import Config, Finetune, Trainer
from thawline.data.store import Store, groups_of
from thawline.models.checkpoint import save_model
from thawline.search.trial.folds import Fold, Validation, folds, per_class, stitched, validation_by
from thawline.training.features.cache import PrefixCache
from thawline.training.finetune import initial_network
from thawline.training.history import Fitted, Row
from thawline.training.memory import with_less_memory
from thawline.training.run import Training

REPORTS_PER_TRIAL = 10
"""How often at most a trial on a held-out part tells the pruner how it does: each report is a write to the
database."""

Report = Callable[[int, float], None]


class Watch:
    """Looks on while a recipe is validated; each of its methods may raise to end that."""

    def before(self, training: Training) -> None:
        """A training is about to start, maybe one that ran out of memory once more."""

    def after_epoch(self, row: Row) -> None:
        """It finished an epoch."""

    def after(self, fitted: Fitted) -> None:
        """It is finished."""


@dataclass(frozen=True, eq=False)
class Trained:
    """One training and what it is worth: `correct` and `losses` (n,) of the pictures it was validated on."""

    fitted: Fitted
    correct: np.ndarray
    losses: np.ndarray
    seconds: float


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a recipe is worth on all pictures it is validated on, N of them, in the order of the store.

    `correct` (N,) is 1 where it was right and 0 where it was wrong, `losses` (N,) the cross-entropy. Of
    several folds, `history`, `cost` and `seconds` are of one training: the mean over the folds, weighted by
    their pictures (of peak memory: the most). The last row of the history says what the kept weights achieve.
    `accumulate` is in how many parts batches had to be computed for want of memory, `trainings` how many
    there were.
    """

    correct: np.ndarray
    losses: np.ndarray
    history: list[Row]
    cost: dict[str, float]
    seconds: float
    accumulate: int = 1
    trainings: int = 1

    @property
    def accuracy(self) -> float:
        return float(self.correct.mean())

    @property
    def loss(self) -> float:
        return float(self.losses.mean())


class Validating:
    """Trains recipes for the target of `store` from the initial target model in the folder `initial`.

    `validation` says how and why so. `images` is how many pictures validate a recipe; `groups` (N,) says
    which of them belong together, None where none do. `steps` is into how many steps a training is divided:
    the report `steps` - 1 is every recipe's last, and one with fewer epochs than steps leaves some out.
    `cache` is the folder for what frozen prefixes make of the pictures.
    """

    def __init__(self, store: Store, initial: Path, config: Config, cache: Path | None = None) -> None:
        self.store, self.initial, self.config = store, initial, config
        self.trainer: Trainer = replace(config.trainer, devices=1, nodes=1)
        self.cache = None if cache is None else PrefixCache(cache, self.trainer)
        self._rows = np.flatnonzero(store.manifest["split"] != "test")
        everything, self._labels = self._groups(self._rows), store.labels[self._rows]
        held_out = np.flatnonzero(store.manifest["split"] == "val")
        self.validation: Validation = validation_by(
            config.search.validation,
            len(self._rows),
            len(held_out),
            min(per_class(self._labels, everything)),
            config.search.folds,
        )
        self._everything = everything
        self.groups = everything if self.folded else self._groups(held_out)
        self.images = len(self._rows) if self.folded else len(held_out)
        self.steps = self.validation.folds if self.folded else min(self._longest(), REPORTS_PER_TRIAL)
        if self.folded:
            self.folds(0)  # refuses at once what cannot be divided

    @property
    def folded(self) -> bool:
        """Whether recipes are cross-validated."""
        return self.validation.kind == "kfold"

    def folds(self, repeat: int) -> list[Fold]:
        """The folds of one repetition; their rows count the pictures that are not test pictures."""
        found = folds(
            self._labels,
            self._everything,
            count=self.validation.folds,
            repeats=repeat + 1,
            seed=self.config.seed,
        )
        return [fold for fold in found if fold.repeat == repeat]

    def outcome(
        self,
        recipe: Finetune,
        seed: int,
        repeat: int = 0,
        report: Report | None = None,
        keep: Path | None = None,
        watch: Watch | None = None,
    ) -> Outcome:
        """Train `recipe` and validate it, once on a held-out part or once for every fold.

        Args:
            seed: of the head, the order and the augmentation; the same for every fold.
            repeat: which repetition of the cross-validation: another division into folds.
            report: told (step, accuracy), step growing from 0 or more to `steps` - 1: after epochs, where a
                step is the same share of every training however many epochs it has; or after every fold
                the accuracy on all folds so far (for the Wilcoxon pruner, which pairs them, on this fold).
                May raise.
            keep: a file for the weights of one of the trainings, fold `repeat` modulo their number; the
                card is put beside it (see `card_beside`).
            watch: looks on; may raise.

        Raises:
            TrainingDivergedError: the loss became infinite or NaN.
            UserError: out of memory whatever the batch, or the recipe does not fit the network.
        """
        if not self.folded:
            one, accumulate = self._train(recipe, self.store, seed, report, keep, watch, 1)
            return _outcome([one], one.correct, one.losses, accumulate)
        parts, accumulate = self.folds(repeat), 1
        trained: list[Trained] = []
        for index, fold in enumerate(parts):
            store = self.store.divided(self._rows[fold.train], self._rows[fold.val])
            kept = keep if index == repeat % len(parts) else None
            one, accumulate = self._train(recipe, store, seed, None, kept, watch, accumulate)
            trained.append(one)
            if report is not None:
                report(index, self._told(trained))
        correct = stitched([replace(fold, repeat=0) for fold in parts], [one.correct for one in trained])
        losses = stitched([replace(fold, repeat=0) for fold in parts], [one.losses for one in trained])
        return _outcome(trained, correct[0], losses[0], accumulate)

    def reached(self, recipe: Finetune, step: int) -> str:
        """How far a recipe is after the report `step`, in words."""
        if self.folded:
            return f"{step + 1} of {self.validation.folds} folds"
        return f"{-(-(step + 1) * recipe.epochs // self.steps)} of {recipe.epochs} epochs"

    def _told(self, trained: Sequence[Trained]) -> float:
        paired = self.config.search.pruner is PrunerName.wilcoxon
        told = trained[-1:] if paired else trained
        return float(np.concatenate([one.correct for one in told]).mean())

    def _train(
        self,
        recipe: Finetune,
        store: Store,
        seed: int,
        report: Report | None,
        keep: Path | None,
        watch: Watch | None,
        accumulate: int,
    ) -> tuple[Trained, int]:
        """One training, with smaller parts of a batch where memory is short."""
        listener = _per_step(report, recipe.epochs, self.steps) if report else None

        def train(accumulate: int) -> Trained:
            return self._train_once(recipe, store, seed, listener, keep, watch or Watch(), accumulate)

        return with_less_memory(train, recipe.batch_size, accumulate)

    def _train_once(
        self,
        recipe: Finetune,
        store: Store,
        seed: int,
        listener: Callable[[Row], None] | None,
        keep: Path | None,
        watch: Watch,
        accumulate: int,
    ) -> Trained:
        started = time.monotonic()
        network, card = initial_network(recipe, self.initial, seed)
        mirror = self.config.target.mirror
        training = Training(
            network,
            recipe,
            store,
            self.trainer,
            seed=seed,
            mirror=mirror,
            accumulate=accumulate,
            cache=self.cache,
        )
        watch.before(training)
        fitted = training.run([watch.after_epoch, *([listener] if listener else [])])
        watch.after(fitted)
        seconds = time.monotonic() - started
        correct, losses = training.outcomes()
        if keep is not None:
            save_model(keep, card_beside(keep), network, card, base=self.initial / MODEL)
        return Trained(fitted, correct, losses, seconds)

    def _groups(self, rows: np.ndarray) -> np.ndarray | None:
        """Numbers equal where pictures belong together; None where each is on its own."""
        numbers = np.unique(groups_of(self.store.manifest.iloc[rows]), return_inverse=True)[1]
        return numbers if len(np.unique(numbers)) < len(rows) else None

    def _longest(self) -> int:
        """The most epochs a recipe may have."""
        listed = self.config.search.space.choices.get("epochs", [])
        # a list of one value fixes it; else the configured recipe is tried too
        return max(listed if len(listed) == 1 else [self.config.finetune.epochs, *listed])


def flattered(recipe: Finetune) -> str | None:
    """Why the scores of trials that train as `recipe` does are too high, however few there are; None where
    they are not."""
    if recipe.keep is not Keep.best:
        return None
    return (
        "finetune.keep = best chooses the epoch of each trial by the very pictures that score it, so all "
        "scores are too high, and the corrected one is, too; finetune.keep=last chooses nothing"
    )


def _per_step(report: Report, epochs: int, steps: int) -> Callable[[Row], None]:
    """Reports the validation accuracy whenever an epoch completes another of the `steps`, each once however
    often a training starts again. Were a step so many epochs, pruners would compare a training that is nearly
    over with one that has hardly begun."""
    reported = -1

    def listener(row: Row) -> None:
        nonlocal reported
        step = int(row["epoch"] + 1) * steps // epochs - 1
        if step > reported:
            reported = step
            report(step, row["val_accuracy"])

    return listener


def _outcome(trained: Sequence[Trained], correct: np.ndarray, losses: np.ndarray, accumulate: int) -> Outcome:
    weights = np.array([len(one.correct) for one in trained], np.float64)
    history = mean_history([one.fitted.history for one in trained], weights)
    last, kept = history[-1], {"val_loss": float(losses.mean()), "val_accuracy": float(correct.mean())}
    if not all(np.isclose(last[name], value, atol=1e-5) for name, value in kept.items()):
        rows = [[one.fitted.row] for one in trained]
        history = [*history, {**mean_history(rows, weights)[0], "epoch": last["epoch"] + 1, **kept}]
    cost = _mean_cost([one.fitted.cost for one in trained], weights)
    seconds = float(np.average([one.seconds for one in trained], weights=weights))
    return Outcome(correct, losses, history, cost, seconds, accumulate, len(trained))


def mean_history(histories: Sequence[Sequence[Row]], weights: np.ndarray | None = None) -> list[Row]:
    """The mean row of each epoch over the trainings that came so far."""
    weights = np.ones(len(histories)) if weights is None else weights
    rows = []
    for epoch in range(max(map(len, histories), default=0)):
        there = [index for index, history in enumerate(histories) if epoch < len(history)]
        values = [histories[index][epoch] for index in there]
        mean = {
            name: float(np.average([row[name] for row in values], weights=weights[there]))
            for name in values[0]
        }
        rows.append({**mean, "epoch": epoch})
    return rows


def _mean_cost(costs: Sequence[dict[str, float]], weights: np.ndarray) -> dict[str, float]:
    names = [name for name in costs[0] if all(name in cost for cost in costs)]
    mean = {name: float(np.average([cost[name] for cost in costs], weights=weights)) for name in names}
    if "peak_memory_bytes" in mean:
        mean["peak_memory_bytes"] = max(cost["peak_memory_bytes"] for cost in costs)
    return mean
