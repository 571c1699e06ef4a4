"""One fine-tuning by a recipe: phase after phase, then what is kept or averaged."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from thawline.config.sections import ClassWeights, Finetune, Trainer
from thawline.data.store import Store
from thawline.models.cuts import units
from thawline.models.device import device_of, in_half_precision
from thawline.models.freezing import PartlyFrozen, hold
from thawline.models.head import head_parameters
from thawline.models.head_cuts import standardising
from thawline.models.inference import logits, worth
from thawline.models.selection import Selection, select
from thawline.models.state import State, load_state, renamed, snapshot, tensors_of
from thawline.training.averaging import towards
from thawline.training.batch_norm import estimate_statistics
from thawline.training.batches import Pictures, validate
from thawline.training.cost import flops_if_possible, measured, reset_peak_memory
from thawline.training.features.cache import FeatureBatches, PrefixCache
from thawline.training.history import Fitted, Row, best_epoch, history_row, refuse_divergence_at_last
from thawline.training.l2_sp import pull_to_source
from thawline.training.parameter_groups import balanced_weights, learning_groups
from thawline.training.parts import parts_that_fit
from thawline.training.phases import Phase, phases_of
from thawline.training.probe import require_stored_pictures, solve_head
from thawline.training.recipe import tracked
from thawline.training.resumption import Finished, read_finished, write_finished
from thawline.training.rewards import objective_of, require_whole_batches
from thawline.training.robust import Loss

if TYPE_CHECKING:
    from thawline.training.classifier import Classifier

Listeners = Sequence[Callable[[Row], None]]


class Training:
    """One fine-tuning of `network` on the store's training pictures, as `recipe` says but for its soup.

    L2-SP pulls and WiSE-FT goes back to the weights when this is made. `seconds_storing` is the time it took
    to find or make stored features, which no epoch's seconds include.

    Args:
        network: the initial target model with a head of its own and with what the method adds (see
            `initial_network`); it is trained in place.
        accumulate: in how many parts to compute each batch (fewer where a picture would be alone): less
            memory and the same steps, but for what sees a batch as a whole (BatchNorm, mixup) and dropout.
        cache: where to find and keep what the frozen prefix makes of each picture; None: nowhere.
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
        self.network, self.recipe, self.store, self.trainer = network, recipe, store, trainer
        self.seed, self.accumulate, self.cache = seed, accumulate, cache
        self.device, self.units = device_of(trainer), units(network)
        self.phases = phases_of(recipe, network)
        if self.phases[-1].solved:
            require_stored_pictures(recipe)
        elif trainer.memory_gib is not None:
            held = hold(network, self._selection(self.phases[-1]))  # the phase that needs most
            parts = parts_that_fit(held, self._batch_shape[0], recipe.batch_size, trainer)
            self.accumulate = max(accumulate, parts)
        require_whole_batches(recipe, self.accumulate)
        self.pictures = Pictures(store, recipe, seed, mirror, self.accumulate)
        self.start = snapshot(network) if recipe.wise_ft < 1 else {}
        self.penalty = pull_to_source(network, self.learning, recipe.l2_sp) if recipe.l2_sp else None
        self.held: PartlyFrozen | None = None
        self.features: FeatureBatches | None = None
        self.seconds_storing = 0.0

    def run(self, after_epoch: Listeners = (), checkpoint: Path | None = None) -> Fitted:
        """Train phase after phase; the network then holds the kept weights.

        A phase goes on from the weights after the last epoch of the one before, whichever are kept.

        Args:
            after_epoch: called with each finished epoch's row; may raise to end the training.
            checkpoint: a folder for the state after each epoch, from which a killed training goes on bit for
                bit as if nothing had happened. The caller removes it once the result is saved.

        Raises:
            TrainingDivergedError: the loss became infinite or NaN, or that of what is kept.
            UserError: `checkpoint` holds another training, or the recipe does not fit the network.
        """
        reset_peak_memory(self.device)
        history: list[Row] = []
        best: State | None = None
        spent: list[int | None] = []
        # a solved phase keeps nothing: the first one that is trained has the number 0
        for index, phase in enumerate(self.phases, -int(self.phases[0].solved)):
            folder = checkpoint and checkpoint / f"phase-{index}"
            identity = self._identity(phase)
            held = self.freeze(phase)
            before = snapshot(self.network) if phase.rewarded else None
            flops = flops_if_possible(held, *self._batch_shape)
            if phase.solved:
                rows, variants = self._by_solving(phase, held, after_epoch)
                history, spent = [*history, *rows], [*spent, flops and flops.forward * variants]
                continue
            done = folder and read_finished(folder, identity, self.network)
            if not done:
                done = self._by_gradient(phase, history, identity, after_epoch, folder)
                if folder:
                    write_finished(folder, identity, done, tensors_of(self.network))
            # what the phase started from is asked in every step, too
            step = flops and flops.step + phase.rewarded * flops.forward
            spent.append(step and step * (len(done.history) - len(history)))
            history, best = done.history, done.best or best
        cost = measured(held, *self._batch_shape, history, spent, len(self.pictures.train), self.device)
        if best is not None:
            load_state(self.network, best)
        kept = len(history) - 1 if best is None else best_epoch(history)
        refuse_divergence_at_last(history[kept])
        fitted = Fitted(history, kept, cost, before=before)
        return self._towards_source(fitted) if self.recipe.wise_ft < 1 else fitted

    def _by_solving(self, phase: Phase, held: PartlyFrozen, after_epoch: Listeners) -> tuple[list[Row], int]:
        """Solve the head, all that learns in `phase`; a killed process does so again.

        Returns its row, none where the phase takes no epoch, and the variants of each picture that it saw.
        """
        started, pictures = time.monotonic(), replace(self.pictures, recipe=phase.applied(self.recipe))
        loss, self.features = solve_head(
            self.network, held, pictures, self.trainer, scale=phase.head_scale, cache=self.cache
        )
        variants = self.features[0].variants or 1
        if not phase.epochs:
            return [], variants
        row = history_row(phase.first, loss, self.score(), time.monotonic() - started)
        for listener in after_epoch:
            listener(row)
        return [row], variants

    def _by_gradient(
        self,
        phase: Phase,
        history: list[Row],
        identity: dict[str, Any],
        after_epoch: Listeners,
        folder: Path | None,
    ) -> Finished:
        """Train `phase` by gradient descent, on features where they are stored and on pictures elsewhere."""
        # Lightning takes seconds to load, and whoever finds all phases finished does not need it
        from thawline.training.fit import fit

        assert self.held is not None
        started = time.monotonic()
        if self.cache is not None:
            self.features = self.cache.feature_batches(self.held, self.pictures, self.device)
        self.seconds_storing += time.monotonic() - started
        train, val = self.features or (self.pictures.training(), self.pictures.validation())
        classifier = self.classifier(
            phase,
            ema=self.recipe.ema,
            history=history,
            first=phase.first,
            span=phase.span,
            identity=identity,
            after_epoch=after_epoch,
            from_features=self.features is not None,
        )
        history, best = fit(
            classifier,
            train,
            val,
            self.trainer,
            early_stopping=phase.applied(self.recipe).early_stopping,
            checkpoint=folder,
            accumulate=self.accumulate,
        )
        return Finished(history, best and renamed(best, classifier.network, self.network))

    def freeze(self, phase: Phase) -> PartlyFrozen:
        """Hold the network so that exactly what learns in `phase` can change."""
        self.held, self.features = hold(self.network, self._selection(phase)), None
        return self.held

    def classifier(self, phase: Phase, **more: Any) -> "Classifier":
        """Return what trains `phase` by gradient descent, before its first step; call `freeze` before."""
        from thawline.training.classifier import Classifier

        recipe, classes = phase.applied(self.recipe), len(self.store.classes)
        weighted = recipe.class_weights is ClassWeights.balanced
        assert self.held is not None, "the network is not frozen for a phase yet"
        return Classifier(
            self.held,
            learning_groups(self.network, recipe),
            recipe,
            seed=self.seed,
            classes=classes,
            class_weights=balanced_weights(self.pictures.train.supervision, classes) if weighted else None,
            loss=Loss.of(recipe),
            keep=recipe.keep,
            penalty=self.penalty,
            objective=objective_of(self.recipe, self.held, self.pictures.train) if phase.rewarded else None,
            **more,
        )

    def _towards_source(self, fitted: Fitted) -> Fitted:
        """Leave weights between those of `fitted` and the source's in the network (WiSE-FT)."""
        started, heads = time.monotonic(), head_parameters(self.network) | standardising(self.network)
        mixed = towards(self.start, snapshot(self.network), self.recipe.wise_ft, but=heads)
        return self.averaged(fitted, mixed, started)

    def averaged(self, fitted: Fitted, weights: State, started: float) -> Fitted:
        """Leave `weights`, averaged since the time `started`, in the network; return `fitted` with a row for
        them."""
        loss, accuracy = self.score(weights)
        row = history_row(len(fitted.history), np.nan, (loss, accuracy), time.monotonic() - started)
        refuse_divergence_at_last(row)
        return replace(fitted, history=[*fitted.history, row], epoch=len(fitted.history))

    def score(self, weights: State | None = None) -> tuple[float, float]:
        """Return validation loss and accuracy, of `weights` where they are given: averaged ones, which are
        left in the network with BatchNorm statistics measured anew."""
        if weights is not None:
            load_state(self.network, weights)
            self._renew_statistics()
        return self._asked(validate)

    def outcomes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return `inference.worth` of the validation pictures, and their logits (N, classes)."""
        found, labels = self._asked(logits)
        return *worth(found, labels), found.cpu().numpy()

    def _asked(self, function: Callable[..., Any]) -> Any:
        # what a held network's prefix makes of the pictures is known already; in half precision it is rounded
        if self.held is not None and self.features and not in_half_precision(self.trainer):
            found = function(self.held, self.features[1], self.device, from_features=True)
        else:
            found = function(self.held or self.network, self.pictures.validation(), self.device)
        (self.held or self.network).cpu()  # what holds it, so that both go on sharing their tensors
        return found

    def _renew_statistics(self) -> None:
        """Measure the statistics of BatchNorm layers that moved anew, for weights that were averaged."""
        moving = frozenset().union(*(self._selection(phase).moving for phase in self.phases))
        holder = self.held or self.network
        holder.to(self.device)
        estimate_statistics(self.network, moving, (each.to(self.device) for each in self.pictures.plain()))
        holder.cpu()

    @cached_property
    def learning(self) -> frozenset[str]:
        """Names of the parameters that learn in any phase."""
        return frozenset().union(*(self._selection(phase).parameters for phase in self.phases))

    @property
    def epochs(self) -> int:
        """Rows that the history gets, unless it stops early or weights are averaged."""
        return sum(phase.epochs for phase in self.phases)

    def trainable_parameters(self) -> int:
        """Return how many numbers learn in any phase; known before the training."""
        tensors = {id(tensor): tensor.numel() for tensor in map(self.network.get_parameter, self.learning)}
        return sum(tensors.values())

    def _selection(self, phase: Phase) -> Selection:
        recipe = self.recipe
        return select(
            self.network,
            phase.frozen,
            method=recipe.method,
            frozen_batch_norm=recipe.frozen_batch_norm,
            batch_norm=recipe.batch_norm,
        )

    def _identity(self, phase: Phase) -> dict[str, Any]:
        """Return what a checkpoint of `phase` must agree with."""
        depth = len(phase.frozen)
        unit = self.units[max(phase.frozen)].name if phase.frozen else None
        recipe = {**tracked(self.recipe), "depth": depth, "unit": unit}
        del recipe["seeds"]  # how many others there are
        whole = {"seed": self.seed, "data": self.store.fingerprint, "accumulate": self.accumulate}
        return {"phase": phase.name, **recipe, **whole}

    @property
    def _batch_shape(self) -> tuple[tuple[int, int, int], int]:
        """Shape of a picture and pictures in a batch, for counting operations."""
        return self.store.transform.shape, max(2, self.recipe.batch_size)
