"""One fine-tuning by a recipe: phase after phase, then what is averaged."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from thawline.config.sections import ClassWeights, Finetune, Mix, Trainer
from thawline.data.batches import Batches, largest_part
from thawline.data.store import Store
from thawline.models.adapters import added_parameters
from thawline.models.cuts import units
from thawline.models.depth import frozen_units
from thawline.models.freezing import PartlyFrozen, given_features, hold
from thawline.models.head import head_parameters
from thawline.models.selection import Selection, select
from thawline.training.averaging import State, estimate_statistics, snapshot, towards
from thawline.training.classifier import Classifier, Row, best_epoch
from thawline.training.cost import flops_if_possible, measure, reset_peak_memory
from thawline.training.features.cache import FILL_BATCH, Fed, PrefixCache
from thawline.training.fit import Fitted, averaged_row, batches, device_of, fit, precision, validate
from thawline.training.l2_sp import Pull
from thawline.training.outcomes import outcomes
from thawline.training.parameter_groups import balanced_weights, learning_groups
from thawline.training.phases import Phase, phases
from thawline.training.processes import place
from thawline.training.recipe import tracked
from thawline.training.resumption import Finished, read_finished, write_finished

VALIDATION_BATCH = 256


def finetune_once(
    network: nn.Module,
    recipe: Finetune,
    store: Store,
    trainer: Trainer,
    *,
    seed: int,
    mirror: bool,
    after_epoch: Sequence[Callable[[Row], None]] = (),
    checkpoint: Path | None = None,
    accumulate: int = 1,
    cache: PrefixCache | None = None,
) -> Fitted:
    """Train `network` in place on the store's training pictures, as `recipe` says but for its soup.

    Args:
        network: the initial target model with a head of its own and with what the method adds (see
            `initial_network`).
        checkpoint: a folder for the state after each epoch, from which a killed training goes on bit for
            bit as if nothing had happened. The caller removes it once the result is saved.
        accumulate: in how many parts to compute each batch (see `Training`).
        cache: where to find and keep what the frozen prefix makes of each picture; None: nowhere.

    Raises:
        TrainingDivergedError: the loss became infinite or NaN.
        UserError: `checkpoint` holds another training, or the recipe does not fit the network.
    """
    training = Training(
        network, recipe, store, trainer, seed=seed, mirror=mirror, accumulate=accumulate, cache=cache
    )
    return training.run(after_epoch, checkpoint)


class Training:
    """One fine-tuning of `network` and what it can do with the weights afterwards.

    Where the weights are when this is made is where L2-SP pulls to and WiSE-FT goes back to. With
    `accumulate`, each of the recipe's batches is computed in so many parts (fewer where a picture would be
    alone), which takes less memory and gives the same optimizer steps, but for layers and choices that see a
    batch as a whole (BatchNorm, mixup) and for what dropout draws. `seconds_storing` is what it took to find
    or make stored features, which no epoch's seconds include.
    """

    def __init__(
        self,
        network: nn.Module,
        recipe: Finetune,
        store: Store,
        trainer: Trainer,
        *,
        seed: int,
        mirror: bool,
        accumulate: int = 1,
        cache: PrefixCache | None = None,
    ) -> None:
        self.network, self.recipe, self.trainer, self.seed = network, recipe, trainer, seed
        self.store, self.mirror, self.accumulate, self.cache = store, mirror, accumulate, cache
        self.train, self.val = store.part("train"), store.part("val")
        self.units = units(network)
        frozen = frozen_units(recipe.depth, recipe.units, self.units)
        self.phases = phases(recipe, len(self.units), frozen)
        self.heads = head_parameters(network)
        self.start = snapshot(network) if recipe.wise_ft < 1 else {}
        self.pull = self._pull() if recipe.l2_sp else None
        self.held: PartlyFrozen | None = None
        self.seconds_storing = 0.0
        self._features: Fed | None = None
        self.device = device_of(trainer)

    def run(
        self, after_epoch: Sequence[Callable[[Row], None]] = (), checkpoint: Path | None = None
    ) -> Fitted:
        """All phases; the network then holds the kept weights."""
        reset_peak_memory(self.device)
        left, spent = Finished([]), []
        for index, phase in enumerate(self.phases):
            before = left
            left = self._phase(phase, before, after_epoch, checkpoint and checkpoint / f"phase-{index}")
            if index + 1 < len(self.phases):
                spent.append((self._step_flops(), len(left.history) - len(before.history)))
        cost = self.cost(left.history, spent)
        fitted = self._kept(left)
        if self.recipe.wise_ft < 1:
            fitted = self._with_source(fitted)
        return replace(fitted, cost=cost)

    def trainable_parameters(self) -> int:
        """Numbers that learn in any phase; known before the training."""
        names = frozenset().union(*(self._select(phase).parameters for phase in self.phases))
        tensors = {id(tensor): tensor.numel() for tensor in map(self.network.get_parameter, names)}
        return sum(tensors.values())

    def score(self) -> tuple[float, float]:
        """Validation accuracy and loss of the weights the network holds now."""
        return validate(self._classifier(self.held or self.network), self._val(), self.trainer)

    def outcomes(self) -> tuple[np.ndarray, np.ndarray]:
        """What the weights the network holds now say of each validation picture: see `outcomes`."""
        # in half precision features are rounded, and pictures are not
        if self._features is None or self.held is None or precision(self.trainer) != "32-true":
            return outcomes(self.network, self._val(), self.trainer)
        # what a held network's prefix makes of them is known already
        with given_features(self.held):
            return outcomes(self.held, self._features[1], self.trainer)

    def renew_statistics(self) -> None:
        """Measure the statistics of BatchNorm layers that moved anew, for weights that were averaged."""
        moving = frozenset().union(*(self._select(phase).moving for phase in self.phases))
        # moved through what holds it, so that both go on sharing their tensors
        together = self.held or self.network
        together.to(self.device)
        estimate_statistics(self.network, moving, self._plain_pictures())
        together.cpu()

    def _phase(
        self,
        phase: Phase,
        before: Finished,
        after_epoch: Sequence[Callable[[Row], None]],
        folder: Path | None,
    ) -> Finished:
        """Go on from the weights after the last epoch of the phase before, whichever are kept in the end."""
        identity = self._identity(phase)
        classifier = self.prepared(
            phase,
            ema=self.recipe.ema,
            history=before.history,
            first=phase.first,
            span=phase.span,
            identity=identity,
            after_epoch=after_epoch,
        )
        done = folder and read_finished(folder, identity, self.network)
        if not done:
            fed = self.fed(phase.epochs)
            train, val = fed or (self.training_batches(), self._val())
            with given_features(classifier) if fed else nullcontext():
                fitted = fit(
                    classifier,
                    train,
                    val,
                    self.trainer,
                    early_stopping=self.recipe.early_stopping,
                    checkpoint=folder,
                    accumulate=self.accumulate,
                )
            done = Finished(fitted.history, self._best(classifier))
            if folder is not None:
                write_finished(folder, identity, done, self.network.state_dict())
        return done if done.best is not None else replace(done, best=before.best)

    def fed(self, epochs: int) -> Fed | None:
        """Batches of features in place of pictures, where they are stored."""
        self._features = None
        # pictures that are mixed are new ones; several processes would each decide for themselves
        if self.cache is None or self.recipe.mix is not Mix.none or place()[1] > 1:
            return None
        assert self.held is not None
        started = time.monotonic()
        self._features = self.cache.feed(
            self.held,
            (self.train, self.training_batches()),
            (self.val, self._val()),
            epochs=epochs,
            device=self.device,
            fill_batch=min(FILL_BATCH, self.validation_batch),
        )
        self.seconds_storing += time.monotonic() - started
        return self._features

    def prepared(self, phase: Phase, **more: Any) -> Classifier:
        """What trains `phase`, before its first step; the network is held for it."""
        self.held = hold(self.network, self._select(phase))
        settings = phase.applied(self.recipe)
        groups = learning_groups(self.network, settings)
        return self._classifier(self.held, settings, groups=groups, pull=self.pull, **more)

    def _best(self, classifier: Classifier) -> State | None:
        """The tensors that `classifier` keeps of its best epoch, by their names in the whole network."""
        if classifier.best is None:
            return None
        last = snapshot(self.network)
        classifier.network.load_state_dict(classifier.best)
        best = snapshot(self.network)
        self.network.load_state_dict(last)
        return best

    def _kept(self, left: Finished) -> Fitted:
        if left.best is None:
            return Fitted(left.history, len(left.history) - 1)
        self.network.load_state_dict(left.best)
        return Fitted(left.history, best_epoch(left.history))

    def cost(self, history: list[Row], spent: Sequence[tuple[int | None, int]] = ()) -> dict[str, float]:
        """`Fitted.cost`; `spent`: operations per picture and epochs of every phase but the last."""
        assert self.held is not None
        pictures = len(self.train.labels)
        cost = measure(self.held, *self._counted_on, history, pictures, self.device)
        last = (cost.step_flops, len(history) - sum(epochs for _, epochs in spent))
        counted = [step and pictures * epochs * step for step, epochs in (*spent, last)]
        whole = None if None in counted else sum(each or 0 for each in counted)
        found = {**asdict(cost), "training_flops": whole}
        return {name: value for name, value in found.items() if value is not None}

    def _step_flops(self) -> int | None:
        assert self.held is not None
        found = flops_if_possible(self.held, *self._counted_on)
        return found and found.step

    @property
    def _counted_on(self) -> tuple[tuple[int, int, int], int]:
        """Shape of a picture and pictures in a batch, for counting operations."""
        transform = self.store.transform
        return (transform.channels, transform.size, transform.size), max(2, self.recipe.batch_size)

    def _with_source(self, fitted: Fitted) -> Fitted:
        started = time.monotonic()
        mixed = towards(self.start, snapshot(self.network), self.recipe.wise_ft, but=self.heads)
        self.network.load_state_dict(mixed)
        self.renew_statistics()
        return self.averaged(fitted, *self.score(), time.monotonic() - started)

    @staticmethod
    def averaged(fitted: Fitted, accuracy: float, loss: float, seconds: float) -> Fitted:
        """`fitted` with a row for weights that were averaged after its last epoch."""
        row = averaged_row(fitted.history, accuracy, loss, seconds)
        return replace(fitted, history=[*fitted.history, row], epoch=len(fitted.history))

    def _select(self, phase: Phase) -> Selection:
        recipe = self.recipe
        return select(
            self.network,
            phase.frozen,
            method=recipe.method,
            frozen_batch_norm=recipe.frozen_batch_norm,
            batch_norm=recipe.batch_norm,
        )

    def _pull(self) -> Pull:
        """On what was copied and learns in any phase."""
        learning = frozenset().union(*(self._select(phase).parameters for phase in self.phases))
        names = sorted(learning - self.heads - added_parameters(self.network))
        return Pull([self.network.get_parameter(name) for name in names], self.recipe.l2_sp)

    def _identity(self, phase: Phase) -> dict[str, Any]:
        """What a checkpoint of this phase must agree with."""
        depth = len(phase.frozen)
        unit = self.units[max(phase.frozen)].name if phase.frozen else None
        recipe = tracked(self.recipe, depth, unit)
        del recipe["seeds"]  # how many others there are
        whole = {"seed": self.seed, "data": self.store.fingerprint, "accumulate": self.accumulate}
        return {"phase": phase.name, **recipe, **whole}

    def _classifier(
        self, network: nn.Module, settings: Finetune | None = None, groups: Any = (), **more: Any
    ) -> Classifier:
        classes = len(self.store.classes)
        weighted = self.recipe.class_weights is ClassWeights.balanced
        return Classifier(
            network,
            groups,
            settings or self.recipe,
            seed=self.seed,
            classes=classes,
            class_weights=balanced_weights(self.train.labels, classes) if weighted else None,
            keep=self.recipe.keep,
            **more,
        )

    def training_batches(self) -> Batches:
        """The training pictures in whole batches, shuffled and augmented as the recipe says."""
        recipe = self.recipe
        return batches(
            self.train,
            recipe.batch_size,
            seed=self.seed,
            augmentation=recipe.augmentation,
            mirror=self.mirror,
            views=recipe.views,
        )

    def _val(self) -> Batches:
        return batches(self.val, self.validation_batch)

    @property
    def validation_batch(self) -> int:
        """Pictures validated at once: no more than are learned from at once where memory is short."""
        part = largest_part(self.recipe.batch_size, self.accumulate)
        return VALIDATION_BATCH if self.accumulate == 1 else min(part, VALIDATION_BATCH)

    def _plain_pictures(self) -> Iterator[torch.Tensor]:
        """The training pictures as validation would see them, in batches of nearly equal size."""
        count = len(self.train.labels)
        for images, _, _ in batches(self.train, count).in_parts(-(-count // self.validation_batch)):
            yield images.to(self.device)
