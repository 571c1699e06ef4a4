"""Validation of a recipe: trained on some pictures and asked about others, none of them a test picture."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from thawline.artifacts import MODEL, card_beside
from thawline.config.choices import Keep, PrunerName, ValidationName
from thawline.config.sections import Config, Finetune, Trainer
from thawline.data.store import Store, groups_of
from thawline.models.checkpoint import save_model
from thawline.progress import part
from thawline.search.trial.outcomes import Outcome, joined
from thawline.training.features.cache import PrefixCache
from thawline.training.finetune import initial_network
from thawline.training.folds import Fold, Validation, folds, most_folds, per_class, stitched, validation_by
from thawline.training.history import Row
from thawline.training.memory import with_less_memory
from thawline.training.pseudo import Relabelled
from thawline.training.run import Training

REPORTS_PER_TRIAL = 10
"""A trial on a held-out part tells the pruner so often at most how it does: each report is a write to the
database."""


class Observer:
    """Looks on while a recipe is validated; each of its methods may raise to end that."""

    def before(self, training: Training) -> None:
        """A training is about to start, maybe one that ran out of memory once more."""

    def after_epoch(self, row: Row) -> None:
        """The training finished an epoch."""

    def after(self, epochs: list[Row]) -> None:
        """The training is finished and has these rows in all."""

    def report(self, step: int, accuracy: float) -> None:
        """The recipe is validated as far as `step`, which grows from 0 or more to `Validating.steps` - 1.

        On a held-out part that is after epochs, where a step is the same share of every training however many
        epochs it has. In a cross-validation it is after every fold, and `accuracy` is that on all folds so
        far; for the Wilcoxon pruner, which pairs them, on this fold.
        """


class Validating:
    """Trains recipes for the target of `store` from the initial target model in the folder `initial`.

    `validation` says how and why so. `images` is how many pictures validate a recipe; `groups` (N,) says
    which of them belong together, None where none do. `steps` is into how many steps a training is divided:
    the report `steps` - 1 is the last of a recipe that trains, and one with fewer epochs than steps
    leaves some out; on a held-out part a solved head reports nothing.
    `cache` is the folder for what frozen prefixes make of the pictures. `relabelled` gives pseudo-labelled
    ones, where there are some, the labels they have without a fold's validation pictures.
    """

    def __init__(
        self,
        store: Store,
        initial: Path,
        config: Config,
        cache: Path | None = None,
        relabelled: Relabelled | None = None,
    ) -> None:
        self.store, self.initial, self.config, self.relabelled = store, initial, config, relabelled
        self.trainer: Trainer = replace(config.trainer, devices=1, nodes=1)
        self.cache = None if cache is None else PrefixCache(cache, self.trainer)
        self._rows = store.labelled
        everything, self._labels = self._groups(self._rows), store.labels[self._rows]
        held_out = np.flatnonzero(store.manifest["split"] == "val")
        asked = partial(validation_by, config.search.validation, len(self._rows), len(held_out))
        rarest, count = min(per_class(self._labels, everything)), config.search.folds
        self.validation: Validation = asked(rarest, count)
        if self.folded and config.search.validation is ValidationName.auto:
            most = most_folds(self._labels, everything, self.validation.folds, config.seed)
            self.validation = asked(min(rarest, most), count)
        self._everything = everything
        self.groups = everything if self.folded else self._groups(held_out)
        self.images = len(self._rows) if self.folded else len(held_out)
        self.steps = self.validation.folds if self.folded else min(self._longest(), REPORTS_PER_TRIAL)
        if self.folded:
            self.folds(0)  # refuses at once what cannot be divided

    @property
    def labels(self) -> np.ndarray:
        """(N,) of the pictures that validate a recipe."""
        return self._labels if self.folded else self.store.part("val").labels

    @property
    def folded(self) -> bool:
        """True where recipes are cross-validated."""
        return self.validation.kind == "kfold"

    def folds(self, repeat: int) -> list[Fold]:
        """Return the folds of one repetition; their rows count the pictures that are not test pictures."""
        count, seed = self.validation.folds, self.config.seed
        return folds(self._labels, self._everything, count=count, repeat=repeat, seed=seed)

    def outcome(
        self,
        recipe: Finetune,
        seed: int,
        repeat: int = 0,
        keep: Path | None = None,
        observer: Observer | None = None,
    ) -> Outcome:
        """Train `recipe` and validate it, once on a held-out part or once for every fold.

        Args:
            seed: of the head, the order and the augmentation; the same for every fold.
            repeat: which repetition of the cross-validation: another division into folds.
            keep: a file for the weights of one of the trainings, fold `repeat` modulo their number; the
                card is put beside it (see `card_beside`).
            observer: looks on; may raise.

        Raises:
            TrainingDivergedError: the loss became infinite or NaN.
            UserError: out of memory whatever the batch, or the recipe does not fit the network.
        """
        observer = observer or Observer()
        if not self.folded:
            reports = _per_step(observer.report, recipe.epochs, self.steps)
            return self._train(recipe, self.store, seed, keep, observer, reports=reports)
        folds, parts = self.folds(repeat), list[Outcome]()
        for index, fold in enumerate(folds):
            taught = self._rows[fold.train]
            store = self.store.divided(taught, self._rows[fold.val])
            store = self.relabelled(store, taught) if self.relabelled else store
            kept = keep if index == repeat % len(folds) else None
            accumulate = parts[-1].accumulate if parts else 1
            with part("fold", index + 1, len(folds)):
                parts.append(self._train(recipe, store, seed, kept, observer, accumulate))
            observer.report(index, self._accuracy(parts))
        correct = stitched(folds, [part.correct for part in parts])
        losses = stitched(folds, [part.losses for part in parts])
        logits = stitched(folds, [part.logits for part in parts if part.logits is not None])
        return replace(joined(parts, correct, losses), logits=logits)

    def progress(self, recipe: Finetune, step: int) -> str:
        """Say in words how far a recipe is after the report `step`."""
        if self.folded:
            return f"{step + 1} of {self.validation.folds} folds"
        return f"{-(-(step + 1) * recipe.epochs // self.steps)} of {recipe.epochs} epochs"

    def _accuracy(self, parts: list[Outcome]) -> float:
        paired = self.config.search.pruner is PrunerName.wilcoxon
        return float(np.concatenate([part.correct for part in (parts[-1:] if paired else parts)]).mean())

    def _train(
        self,
        recipe: Finetune,
        store: Store,
        seed: int,
        keep: Path | None,
        observer: Observer,
        accumulate: int = 1,
        reports: Callable[[Row], None] | None = None,
    ) -> Outcome:
        """Train once, with smaller parts of a batch (from `accumulate` of them on) where memory is short;
        `reports` is told of each epoch, of which a solved head has none."""

        def train(accumulate: int) -> Outcome:
            started = time.monotonic()
            network, card = initial_network(recipe, self.initial, seed)
            training = Training(
                network,
                recipe,
                store,
                self.trainer,
                seed=seed,
                mirror=self.config.target.mirror,
                accumulate=accumulate,
                cache=self.cache,
            )
            observer.before(training)
            told = [reports] if reports is not None and not training.phases[-1].solved else []
            fitted = training.run([observer.after_epoch, *told])
            observer.after(fitted.history)
            seconds = time.monotonic() - started
            correct, losses, logits = training.outcomes()
            if keep is not None:
                save_model(keep, card_beside(keep), network, card, base=self.initial / MODEL)
            return Outcome(
                correct, losses, fitted.history, fitted.row, fitted.cost, seconds, accumulate, logits=logits
            )

        return with_less_memory(train, recipe.batch_size, accumulate)[0]

    def _groups(self, rows: np.ndarray) -> np.ndarray | None:
        """Return numbers that are equal where pictures belong together; None where each is on its own."""
        numbers = groups_of(self.store.manifest.iloc[rows])
        return numbers if len(np.unique(numbers)) < len(rows) else None

    def _longest(self) -> int:
        """Return the most epochs a recipe may have."""
        listed = self.config.search.space.choices.get("epochs", [])
        # a list of one value fixes it; else the configured recipe is tried too
        return max(listed if len(listed) == 1 else [self.config.finetune.epochs, *listed])


def flattered(recipe: Finetune) -> str | None:
    """Say why the scores of trials that train as `recipe` does are too high, however few there are; None
    where they are not."""
    if recipe.keep is not Keep.best:
        return None
    return (
        "finetune.keep = best chooses the epoch of each trial by the very pictures that score it, so all "
        "scores are too high, and the corrected one is, too; finetune.keep=last chooses nothing"
    )


def _per_step(report: Callable[[int, float], None], epochs: int, steps: int) -> Callable[[Row], None]:
    """Return what reports the validation accuracy whenever an epoch completes another of the `steps`, each
    once however often a training starts again. Were a step so many epochs, pruners would compare a training
    that is nearly over with one that has hardly begun."""
    reported = -1

    def listener(row: Row) -> None:
        nonlocal reported
        step = int(row["epoch"] + 1) * steps // epochs - 1
        if step > reported:
            reported = step
            report(step, row["val_accuracy"])

    return listener
