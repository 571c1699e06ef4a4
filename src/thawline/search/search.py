"""The stage: choose depth and learning rates of one contender on the validation pictures."""

import copy
import logging
import time
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from optuna.trial import Trial, TrialState
from torch import nn

from thawline import tracking
from thawline.artifacts import (
    CARD,
    COSTS,
    MODEL,
    RECIPE,
    TRIALS,
    Artifacts,
    atomic_path,
    exclusive,
    fingerprint,
    write_json,
)
from thawline.config.errors import UserError
from thawline.config.sections import Config, Finetune, Method, Start
from thawline.data.store import Store, open_store
from thawline.models.checkpoint import load_model
from thawline.models.cuts import Unit, units
from thawline.models.depth import frozen_units, resolve_depth
from thawline.progress import progress
from thawline.search.space import depths, fresh_rates, point, suggest
from thawline.search.study import REASON, best_trial, counted, open_study, run_trials
from thawline.training.classifier import Row
from thawline.training.code import code_version
from thawline.training.finetune import initial_network, with_method
from thawline.training.fit import prepare_machine
from thawline.training.once import finetune_once
from thawline.training.recipe import Chosen, lock_of, plain, recipe_of, tracked, write_chosen

log = logging.getLogger(__name__)

REPORTS_PER_TRIAL = 10
"""How often a trial tells the pruner how it does: each report is a write to the database."""

SEARCH_SEED = 999
"""Added to the seed: trials use another head and order than the final fine-tunings."""


class Searching:
    """One contender's study and what its trials need."""

    def __init__(self, config: Config, artifacts: Artifacts) -> None:
        self.config = config
        self.initial = artifacts.stage("replace_head")
        self.store: Store = open_store(artifacts.data("target"))
        self.base = recipe_of(config.contender, config.finetune)
        network, self.card = load_model(self.initial / MODEL, self.initial / CARD)
        self.units = units(network)
        self.depths = self._usable(network, self._allowed())

    def _allowed(self) -> list[int]:
        """The depths that the configuration asks for. Raises `UserError` for what the network lacks."""
        search, count = self.config.search, len(self.units)
        depth = resolve_depth(self.base.depth, self.units)
        frozen_units(self.base.depth, self.base.units, self.units)  # refuses names of units it does not know
        if not search.enabled:
            return [depth]
        if search.space.depths is not None and self.base.units is not None:
            raise UserError(
                f"search.space.depths = {search.space.depths}, but finetune.units = {self.base.units} says which "
                "units learn, so that there is no depth to search.\n"
                "  set search.space.depths=null or finetune.units=null"
            )
        allowed = depths(search, self.config.contender, self.base, count)
        if max(allowed) > count:
            raise UserError(
                f"search.space.depths = {search.space.depths}, "
                f"but {self.card.architecture} has {count} units.\n"
                f"  allowed: counts of frozen units from 0 to {count}"
            )
        return allowed

    def _usable(self, network: nn.Module, allowed: list[int]) -> list[int]:
        """Those of the depths at which the method finds something to train, or all is frozen on purpose.

        Raises `UserError` when none is left but the linear probe, which would not be what was asked for.
        """
        refused: dict[int, UserError] = {}
        for depth in allowed if self.base.method is not Method.full else []:
            frozen = frozen_units(depth, self.base.units, self.units)
            try:
                with_method(copy.deepcopy(network), self.base, frozen, self.config.seed)
            except UserError as error:
                refused[depth] = error
        if not refused:
            return allowed
        first, reason = next(iter(refused.items()))
        if len(allowed) == 1:
            raise reason
        usable = [depth for depth in allowed if depth not in refused]
        method, without = self.base.method.name, ", ".join(map(str, refused))
        if set(usable) <= {len(self.units)}:
            raise UserError(
                f"finetune.method = {method} does nothing for {self.card.architecture} at any depth searched "
                f"({without}).\n  at depth {first}: {reason}"
            ) from reason
        log.info(
            "search %s: not at depth %s, where %s does nothing", self.config.contender.name, without, method
        )
        return usable

    def name(self) -> str:
        """The study's name: what decides its trials, so that a changed search is another study."""
        search = self.config.search
        random = self.base.start is Start.random
        decisive: dict[str, Any] = {
            # each final fine-tuning has a seed, a trial has none of them
            "recipe": {name: value for name, value in tracked(self.base).items() if name != "seeds"},
            "fresh_rates": plain(fresh_rates(self.base, search)),
            "body_rates": None if self.depths == [len(self.units)] or random else plain(search.space.body_lr),
            "sampler": [search.sampler.name, search.startup_trials, search.pruner.name],
            "depths": self.depths,
            "seed": self.config.seed,
            "data": self.store.fingerprint,
            "source": None if random else self.card.source_hash,
            "architecture": self.card.architecture,
            "options": self.card.options,
            "head": self.card.head.name,
            "mirror": self.config.target.mirror,
            "trainer": plain(self.config.trainer),
            "code": code_version(),
        }
        return f"{self.config.contender.name}-{fingerprint(decisive)[:12]}"

    def first(self) -> dict[str, float]:
        """The configured recipe, which is tried before any other."""
        depth = resolve_depth(self.base.depth, self.units)
        depth = min(self.depths, key=lambda allowed: abs(allowed - depth))
        return point(self.base, self.config.search, self.depths, depth, len(self.units))

    def objective(self, trial: Trial, parent: str) -> float:
        """Validation accuracy of one trial; its run in MLflow is a child of the study's."""
        recipe = suggest(trial, self.base, self.config.search, self.depths, len(self.units))
        depth = resolve_depth(recipe.depth, self.units)
        unit = unit_name(self.units, depth)
        started = time.monotonic()
        with tracking.run(
            f"trial {trial.number}",
            stage="search",
            parameters=tracked(recipe, depth, unit),
            tags=self._tags(),
            parent=parent,
        ) as run:
            rows: list[Row] = []
            try:
                fitted = self._train(recipe, trial, rows)
            except optuna.TrialPruned as pruned:
                run.log_history(rows)
                run.end("pruned", str(pruned))
                raise
            except UserError:
                run.log_history(rows)
                raise
            finally:
                trial.set_user_attr("depth", depth)
                trial.set_user_attr("unit", unit)
                trial.set_user_attr("epochs", len(rows))
                trial.set_user_attr("seconds", time.monotonic() - started)
            run.log_history(fitted.curve)
            run.log_metrics(fitted.cost)
            trial.set_user_attr("val_loss", fitted.row["val_loss"])
        return fitted.row["val_accuracy"]

    def _train(self, recipe: Finetune, trial: Trial, rows: list[Row]) -> Any:
        seed = self.config.seed * 1000 + SEARCH_SEED

        def report(row: Row) -> None:
            rows.append(row)
            epoch = int(row["epoch"])
            rung = max(1, recipe.epochs // REPORTS_PER_TRIAL)
            if (epoch + 1) % rung == 0:
                trial.report(row["val_accuracy"], epoch // rung)
                if trial.should_prune() and epoch + 1 < recipe.epochs:
                    raise optuna.TrialPruned(f"worse than half of the trials after {epoch + 1} epochs")

        network, _ = initial_network(recipe, self.initial, seed)
        return finetune_once(
            network,
            recipe,
            self.store,
            self.config.trainer,
            seed=seed,
            mirror=self.config.target.mirror,
            after_epoch=[report],
        )

    def _tags(self) -> dict[str, Any]:
        return {
            "contender": self.config.contender.name,
            "architecture": self.card.architecture,
            "seed": self.config.seed,
            "data_fingerprint": self.store.fingerprint,
        }

    def run(self, database: Path) -> optuna.Study:
        """All trials, each recorded under one MLflow run for the study."""
        search = self.config.search
        study = open_study(database, self.name(), search)
        if len(counted(study)) >= search.trials:
            log.info("search %s: all %d trials were run before", self.config.contender.name, search.trials)
            return study
        parameters = {"trials": search.trials, "sampler": search.sampler, "pruner": search.pruner}
        label = f"search {self.config.contender.name}"
        with (
            tracking.run(
                label, stage="search", parameters=parameters, tags=self._tags(), lock=lock_of(self.config)
            ) as parent,
            progress(label, search.trials, len(counted(study))) as advance,
        ):

            def after(trial: Trial, state: TrialState) -> None:  # noqa: ARG001
                best = best_trial(study, search.trials)
                advance(1, f"best validation accuracy {best.value:.3f}" if best else "")

            run_trials(
                study,
                search,
                lambda trial: self.objective(trial, parent.id),
                first=self.first(),
                seed=self.config.seed,
                after_trial=after,
            )
            best = best_trial(study, search.trials)
            if best is not None:
                parent.log_metrics({"val_accuracy": best.value, "val_loss": best.user_attrs["val_loss"]})
        return study

    def chosen(self, study: optuna.Study | None) -> Chosen:
        """The recipe the best trial used; the configured one where there was no search."""
        recipe, selected = self.base, None
        if study is not None:
            trials = self.config.search.trials
            best = best_trial(study, trials)
            if best is None:
                raise UserError(
                    f"all {trials} trials of {self.config.contender.name} failed or were pruned.\n"
                    f"  last reason: {_last_reason(study)}\n"
                    "  lower the ends of search.space: head_lr.high, scratch_lr.high and body_lr.high"
                )
            fixed = optuna.trial.FixedTrial(best.params)
            recipe = suggest(fixed, self.base, self.config.search, self.depths, len(self.units))
            selected = {
                "trial": best.number,
                "trials": trials,
                "val_accuracy": best.value,
                "val_loss": best.user_attrs["val_loss"],
            }
        depth = resolve_depth(recipe.depth, self.units)
        return Chosen(self.config.contender, recipe, depth, unit_name(self.units, depth), selected)


def search(config: Config, artifacts: Artifacts) -> None:
    """Write recipe.json, trials.csv and costs.json of `config.contender`."""
    started = time.monotonic()
    prepare_machine(config.trainer)
    searching = Searching(config, artifacts)
    study = None
    if config.search.enabled:
        log.info(
            "search %s: the configured learning rates and depth are only the first trial "
            "(search=off uses them as they stand)",
            config.contender.name,
        )
        tracking.connect(config.tracking.uri, config.tracking.experiment, artifacts.root)
        tracking.reconcile()
        with exclusive(artifacts.studies.with_name(f"{searching.name()}.lock")):
            study = searching.run(artifacts.studies)
    folder = artifacts.stage_output("search", config.contender.name)
    with atomic_path(folder / TRIALS) as path:
        trials_table(study, config.search.trials).to_csv(path, index=False, lineterminator="\n")
    write_json(folder / COSTS, {"seconds": time.monotonic() - started, "study": study and study.study_name})
    chosen = searching.chosen(study)
    write_chosen(folder / RECIPE, chosen)
    log.info("%s: depth %d, %s", *_summary(chosen))


def trials_table(study: optuna.Study | None, total: int) -> pd.DataFrame:
    """One row per trial: number, state, value (validation accuracy), val_loss, depth, unit, head_lr,
    body_lr, epochs, seconds, reason."""
    columns = ["number", "state", "value", "val_loss", "depth", "unit", "head_lr", "body_lr"]
    columns += ["epochs", "seconds", REASON]
    states = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
    rows = [
        {**trial.params, **trial.user_attrs, "number": trial.number, "state": states[trial.state]}
        | {"value": trial.value}
        for trial in (counted(study, total) if study else [])
    ]
    return pd.DataFrame(rows, columns=columns)


def unit_name(units: tuple[Unit, ...], depth: int) -> str | None:
    """The name of the last frozen unit; None where nothing is frozen."""
    return units[depth - 1].name if depth else None


def _last_reason(study: optuna.Study) -> str:
    reasons = [trial.user_attrs.get(REASON) for trial in study.get_trials(deepcopy=False)]
    return next((reason for reason in reversed(reasons) if reason), "none given")


def _summary(chosen: Chosen) -> tuple[str, int, str]:
    recipe, rates = chosen.recipe, []
    for name, rate in (("head", recipe.head_lr), ("body", recipe.body_lr)):
        if rate is not None and (name == "head" or recipe.body_learns(recipe.depth == "all")):
            rates.append(f"{name} rate {rate:.2g}")
    return chosen.contender.name, chosen.depth, ", ".join(rates)
