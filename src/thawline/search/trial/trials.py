"""The study of one contender: which recipes it tries, and what each is worth."""

import time
from functools import cached_property
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.trial import FrozenTrial
from torch import nn

from thawline import tracking
from thawline.artifacts import CARD, MODEL, Artifacts, fingerprint
from thawline.config.errors import UserError
from thawline.config.recipe.contenders import contender_of, recipe_of
from thawline.config.sections import Config, Finetune, Method, Objective, Start
from thawline.data.recorded import learned_from
from thawline.data.store import Store
from thawline.data.supervision import open_training
from thawline.identity import code_identity
from thawline.models.checkpoint import load_model
from thawline.models.cuts import Unit, units
from thawline.models.depth import resolve_depth
from thawline.models.device import prepare_machine
from thawline.models.linear_head import linear_head
from thawline.search.space.depths import asked_depths, usable_methods
from thawline.search.space.parameters import METHOD, Usable, fresh_rates, recipe_of_trial
from thawline.search.space.slots import Slots
from thawline.search.study.study import RUN, report
from thawline.search.study.time_limit import TIME_IS_UP, time_is_up
from thawline.search.task import Slot
from thawline.search.trial.limits import Limits
from thawline.search.trial.outcomes import Outcome, save_outcome
from thawline.search.trial.validation import Validating
from thawline.training.cost import flops
from thawline.training.features.cache import PrefixCache
from thawline.training.head_cuts import chosen_cuts, decided
from thawline.training.phases import phases_of
from thawline.training.probe import require_stored_pictures
from thawline.training.pseudo import relabelled
from thawline.training.recipe import plain, tracked
from thawline.training.rewards import with_costs
from thawline.training.solve.choice import CutChoice

SEARCH_SEED = 999
"""Added to the seed: trials use another head and order than the final fine-tunings."""

DECISIVE = ("sampler", "startup_trials", "grid_points", "pruner", "known", "goal", "objective", "limit")
"""Settings of the search that decide its trials; a study may be gone on with when others change."""


class Trials:
    """A study that workers can run (see `Task`), and what its trials need.

    Making one sets up this process for training. `depths` are those it tries, `total` its trials.
    """

    def __init__(self, config: Config, artifacts: Artifacts) -> None:
        prepare_machine(config.trainer)
        self.config, self.artifacts, self.search = config, artifacts, config.search
        self.contender = contender_of(config)
        self.initial = artifacts.stage("replace_head")
        self.store: Store = open_training(artifacts)
        network, self.card = load_model(self.initial / MODEL, self.initial / CARD)
        self.linear_head = linear_head(network) is not None
        recipe = with_costs(config.finetune, config, self.store.classes)
        self.base = recipe_of(self.contender, recipe, self.linear_head)
        if phases_of(self.base, network)[-1].solved:
            require_stored_pictures(self.base)
        self.units: tuple[Unit, ...] = units(network)
        asked = asked_depths(config, self.base, self.units, self.card.architecture)
        usable = usable_methods(network, config, self.base, self.units, asked, self.card.architecture)
        self.depths = list(usable)
        self.usable: Usable | None = usable if METHOD in self.search.space.choices else None
        if self.search.enabled and self.multiple:
            self._require_cost(network)
        self._slots = Slots(self.search, self.base, self.depths, self.units, self.usable, self.linear_head)

    @cached_property
    def validating(self) -> Validating:
        """Validates its recipes."""
        again = relabelled(self.artifacts, self.store)
        return Validating(self.store, self.initial, self.config, self.artifacts.prefix, again)

    @property
    def seed(self) -> int:
        return self.config.seed

    @property
    def multiple(self) -> bool:
        """True where there are two objectives."""
        return self.search.objective is Objective.accuracy_and_cost

    @property
    def directions(self) -> list[str]:
        return ["maximize", "minimize"] if self.multiple else ["maximize"]

    @property
    def steps(self) -> int:
        return 0 if self.multiple else self.validating.steps

    @property
    def total(self) -> int:
        return self._slots.total

    def slot(self, index: int) -> Slot | None:
        return self._slots.slot(index)

    @cached_property
    def name(self) -> str:
        contender = self.contender.name
        if self.search.study is not None:
            return f"{self.search.study}-{contender}"
        return f"{contender}-{fingerprint(self.decisive)[:12]}"

    @cached_property
    def decisive(self) -> dict[str, Any]:
        search, random = self.search, self.base.start is Start.random
        validation, trainer = self.validating.validation, self.config.trainer
        return {
            # of the final fine-tunings alone
            "recipe": {
                name: value for name, value in tracked(self.base).items() if name not in ("seeds", "refit")
            },
            "fresh_rates": plain(fresh_rates(self.base, search)),
            "body_rates": None if self.depths == [len(self.units)] or random else plain(search.space.body_lr),
            "choices": search.space.choices,
            "depths": self.depths,
            **{name: plain(getattr(search, name)) for name in DECISIVE},
            "validation": {"kind": validation.kind, "folds": validation.folds},
            "seed": self.config.seed,
            "data": self.store.fingerprint,
            "source": None if random else self.card.source_hash,
            "architecture": self.card.architecture,
            "options": self.card.options,
            "head": self.card.head.name,
            "mirror": self.config.target.mirror,
            # not the threads, which are shared out among the workers
            "trainer": {
                "accelerator": trainer.accelerator,
                "precision": trainer.precision.name,
                "compile": trainer.compile,
            },
            "code": self._code(),
            "cuda": torch.cuda.is_available(),
        }

    def _code(self) -> str:
        """Return the identity of the code of the trials, with no other methods than those they may use."""
        # known recipes train everything
        names = {"full", self.base.method.name, *self.search.space.choices.get(METHOD, ())}
        methods = [Method[name] for name in sorted(names)]
        return code_identity(
            __name__,
            # samplers propose the trials, and are asked by another module
            "thawline.search.study.samplers",
            rows=tuple(repr(method.row) for method in methods),
            also=tuple(method.module for method in methods),
        )

    @property
    def tags(self) -> dict[str, Any]:
        """Of every run in MLflow."""
        return {
            "contender": self.contender.name,
            "architecture": self.card.architecture,
            "seed": self.config.seed,
            "data_fingerprint": self.store.fingerprint,
        }

    def recipe(self, trial: optuna.trial.BaseTrial | FrozenTrial) -> Finetune:
        """Return the recipe that a trial tries, or tried."""
        return self.decided(recipe_of_trial(trial, self._slots.space))

    @cached_property
    def cuts(self) -> CutChoice:
        """The cuts that a solved head is to read, by out-of-fold predictions of the labelled pictures."""
        network, _ = load_model(self.initial / MODEL, self.initial / CARD)
        cache = PrefixCache(self.artifacts.prefix, self.config.trainer)
        return chosen_cuts(
            network, self.base, self.store, self.config.trainer, seed=self.config.seed, cache=cache
        )

    @property
    def have_cuts(self) -> bool:
        """Tell whether the cuts were chosen, because some recipe leaves them to be."""
        return "cuts" in self.__dict__

    def decided(self, recipe: Finetune) -> Finetune:
        """Return `recipe` with the cuts of its head as counts, chosen where it leaves them to be."""
        return decided(recipe, self.units, self.linear_head, lambda: self.cuts)

    def objective(self, trial: optuna.Trial, parent: str) -> float | tuple[float, ...]:
        recipe = self.recipe(trial)
        depth = resolve_depth(recipe.depth, self.units)
        unit = unit_name(self.units, depth)
        with tracking.run(
            f"trial {trial.number}",
            stage="search",
            parameters=tracked(recipe, depth, unit, units=len(self.units), linear_head=self.linear_head),
            tags={**self.tags, "trial": trial.number},
            data=learned_from(self.config.target, self.store),
            parent=parent,
            study=trial.study.study_name,
        ) as run:
            _set(trial, {RUN: run.id, "depth": depth, "unit": unit})
            outcome = self._outcome(trial, recipe, run)
            # before the trial counts: what is computed of all trials together needs it
            save_outcome(self.outcomes, trial.number, outcome)
            _set(trial, _worth(outcome))
            run.log_history(outcome.history)
            run.log_metrics(outcome.cost)
            return self._values(outcome)

    def _outcome(self, trial: optuna.Trial, recipe: Finetune, run: tracking.Run) -> Outcome:
        """Train and validate one trial; where it was ended early its run says how far it came."""
        watch, started = _Watch(self, trial, recipe), time.monotonic()
        try:
            return self.validating.outcome(recipe, self.config.seed * 1000 + SEARCH_SEED, observer=watch)
        except optuna.TrialPruned as pruned:
            run.log_history(watch.history)
            run.end("pruned", str(pruned))
            raise
        except UserError:
            run.log_history(watch.history)
            raise
        finally:
            _set(trial, {"epochs": len(watch.history), "seconds": time.monotonic() - started})

    def _values(self, outcome: Outcome) -> float | tuple[float, ...]:
        if not self.multiple:
            return outcome.accuracy
        if "training_flops" not in outcome.cost:
            raise self._without_cost("see the log")
        return outcome.accuracy, outcome.cost["training_flops"]

    def _require_cost(self, network: nn.Module) -> None:
        """Refuse two objectives of a network of which one is unknown, before anything is trained."""
        try:
            flops(network, self.store.transform.shape)
        except Exception as error:  # whatever a network raises
            raise self._without_cost(str(error)) from error

    def _without_cost(self, reason: str) -> UserError:
        return UserError(
            "search.objective = accuracy_and_cost, but the operations of a training of "
            f"{self.card.architecture} cannot be counted: {reason}\n  set search.objective=accuracy"
        )

    @property
    def outcomes(self) -> Path:
        """The folder with what each complete trial said of every validation picture."""
        return self.artifacts.outcomes / self.name


class _Watch(Limits):
    """Looks on while a trial runs: ends it where it needs too much, does not promise much, or time is up."""

    def __init__(self, trials: Trials, trial: optuna.Trial, recipe: Finetune) -> None:
        super().__init__(trials.search.limit, trial)
        self.trials, self.recipe = trials, recipe

    def report(self, step: int, accuracy: float) -> None:
        report(self.trial, accuracy, step)
        validating, search = self.trials.validating, self.trials.search
        if step == validating.steps - 1:
            return
        progress = validating.progress(self.recipe, step)
        if not self.trials.multiple and self.trial.should_prune():
            raise optuna.TrialPruned(f"not promising after {progress} ({search.pruner.name})")
        if time_is_up(self.trial.study):
            raise optuna.TrialPruned(f"{TIME_IS_UP} after {progress}")


def unit_name(units: tuple[Unit, ...], depth: int) -> str | None:
    """Return the name of the last frozen unit; None where nothing is frozen."""
    return units[depth - 1].name if depth else None


def _worth(outcome: Outcome) -> dict[str, Any]:
    """Return user attributes that say what a complete trial came to."""
    found = {
        "val_loss": outcome.loss,
        "seconds": outcome.seconds * outcome.trainings,
        "images": len(outcome.correct),
        "training_flops": outcome.cost.get("training_flops"),
    }
    return found if outcome.accumulate == 1 else {**found, "accumulate": outcome.accumulate}


def _set(trial: optuna.Trial, attributes: dict[str, Any]) -> None:
    for name, value in attributes.items():
        trial.set_user_attr(name, value)
