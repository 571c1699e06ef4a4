"""The stage: choose depth and learning rates of each contender on the validation pictures."""

import logging
import time
from pathlib import Path
from typing import Any

import optuna

from thawline import tracking
from thawline.artifacts import (
    COSTS,
    DEPTH_CURVE,
    EVIDENCE,
    LEFT_OUT,
    PARETO,
    RECIPE,
    TRIALS,
    Artifacts,
    write_json,
    write_table,
)
from thawline.config.recipe.contenders import of_each
from thawline.config.recipe.words import Told, described
from thawline.config.search import EACH_DEPTH
from thawline.config.sections import Config, Contender, Goal
from thawline.data.recorded import learned_from
from thawline.depth_curve import read_curve
from thawline.plan.decisions import as_far, seconds_for_search, stop_at
from thawline.search.results.chosen import chosen
from thawline.search.results.cuts import write_cuts
from thawline.search.results.depth_curve import depth_curve_of, write_evidence_without_curve
from thawline.search.results.plots import log_plots
from thawline.search.results.tables import pareto_table, trials_table
from thawline.search.study.run import run_study
from thawline.search.study.samplers import reproducible, unlearned
from thawline.search.study.study import REASON, RUN, best_trial, counted, open_study
from thawline.search.study.time_limit import TIME_IS_UP, set_deadline, too_late_to_begin
from thawline.search.trial.outcomes import load_logits, write_arrays
from thawline.search.trial.trials import Trials
from thawline.search.trial.validation import flattered
from thawline.training.recipe import Chosen, lock_of, write_chosen

log = logging.getLogger(__name__)

CONCLUDED = "concluded"
"""User attribute of a study: how many trials it had when what they came to was last recorded in full."""


def search(config: Config, artifacts: Artifacts) -> None:
    """Write recipe.json, trials.csv, pareto.csv, costs.json, left_out.npz and the folder evidence of every
    contender.

    A search that was finished before, or interrupted, is found again by what decides it.
    """
    stop_at(config, artifacts, {})
    if config.search.enabled:
        tracking.connect(config.tracking.uri, config.tracking.experiment, artifacts.root)
        tracking.reconcile()
    for one in of_each(config):
        _search(as_far(one, artifacts), artifacts)


def _search(config: Config, artifacts: Artifacts) -> None:
    started = time.monotonic()
    trials = Trials(config, artifacts)
    folder = artifacts.stage_output("search", trials.contender.name)
    study, found = _searched(trials) if config.search.enabled else (None, _passed_through(trials))
    choices = list(config.search.space.choices)
    write_table(folder / TRIALS, trials_table(study, trials.total, choices))
    write_table(folder / PARETO, pareto_table(study, trials.total))
    write_json(folder / COSTS, {"seconds": time.monotonic() - started, "study": study and study.study_name})
    write_cuts(trials)
    _write_left_out(folder / LEFT_OUT, trials, found)
    write_chosen(folder / RECIPE, found)
    told = Told(found.recipe, found.depth, found.unit, len(trials.units), found.linear_head)
    log.info("%s: %s", trials.contender.name, described(told))


def _write_left_out(path: Path, trials: Trials, found: Chosen) -> None:
    """Write `logits` (N, classes) and `labels` (N,) of the pictures that validated the chosen trial, for
    whoever fits probabilities to them; no file where there was no search, or where what the trial said is
    gone."""
    path.unlink(missing_ok=True)
    if found.selected is None:
        return
    logits = load_logits(trials.outcomes, found.selected["trial"])
    if logits is not None:
        write_arrays(path, logits=logits, labels=trials.validating.labels)


def _passed_through(trials: Trials) -> Chosen:
    found = chosen(trials, None)
    write_evidence_without_curve(trials.artifacts, found)
    return found


def _searched(trials: Trials) -> tuple[optuna.Study, Chosen]:
    config = trials.config
    _announce(trials)
    study = open_study(trials, trials.artifacts.studies)
    set_deadline(study, seconds_for_search(config, trials.artifacts))
    name = trials.contender.name
    curve = config.search.goal is Goal.depth_curve and trials.contender is Contender.finetuned
    if _finished(trials, study) and _is_concluded(trials, study) and not curve:
        log.info("search %s: all %d trials were run before", name, len(counted(study)))
        return study, _without_curve(trials, study)
    with tracking.run(
        f"search {name}",
        stage="search",
        parameters=_parameters(trials),
        tags=trials.tags,
        lock=lock_of(config),
        data=learned_from(config.target, trials.store),
        again=study.user_attrs.get(RUN),
    ) as parent:
        label = f"search {name}"
        study = run_study(Trials, config, trials.artifacts, parent.id, label, trials)
        found = _concluded(trials, study, parent, curve)
    study.set_user_attr(CONCLUDED, len(counted(study, trials.total)))
    _say_whether_stopped(trials, study)
    return study, found


def _say_whether_stopped(trials: Trials, study: optuna.Study) -> None:
    """Keep how many trials the clock left, so that a reproduction runs as many and not more: none that it cut
    off, which would be whole there and might be chosen."""
    ended = [each.user_attrs.get(REASON, "") for each in counted(study, trials.total)]
    whole, name = sum(not reason.startswith(TIME_IS_UP) for reason in ended), trials.contender.name
    if whole < trials.total:
        log.warning("search %s: time was up after %d of %d trials", name, whole, trials.total)
        if trials.search.goal is Goal.recipe:
            stop_at(trials.config, trials.artifacts, {name: whole})


def _finished(trials: Trials, study: optuna.Study) -> bool:
    done = len(counted(study, trials.total))
    return done == trials.total or (done > 0 and too_late_to_begin(study))


def _is_concluded(trials: Trials, study: optuna.Study) -> bool:
    """False where the last call was interrupted after its last trial: its run in MLflow says so still."""
    return study.user_attrs.get(CONCLUDED) == len(counted(study, trials.total))


def _concluded(trials: Trials, study: optuna.Study, parent: tracking.Run, curve: bool) -> Chosen:
    """Return what the finished study comes to, with its score and its plots on the study's run."""
    best = best_trial(study, trials.total)
    if best is not None:
        parent.log_metrics({"val_accuracy": best.values[0], "val_loss": best.user_attrs["val_loss"]})
    if curve:
        found = depth_curve_of(trials, study, trials.config, trials.artifacts, parent.id)
    else:
        found = _without_curve(trials, study)
    evidence = trials.artifacts.stage_output("search", trials.contender.name, EVIDENCE)
    log_plots(study, parent, read_curve(evidence / DEPTH_CURVE) if curve else None)
    return found


def _without_curve(trials: Trials, study: optuna.Study) -> Chosen:
    found, validating = chosen(trials, study), trials.validating
    write_evidence_without_curve(trials.artifacts, found, validating.validation, validating.images)
    return found


def _parameters(trials: Trials) -> dict[str, Any]:
    """Return the parameters of the study's run in MLflow."""
    search, validation = trials.search, trials.validating.validation
    names = ("goal", "sampler", "pruner", "objective", "trials", "trials_per_depth")
    found = {name: getattr(search, name) for name in names}
    return {**found, "validation": validation.kind, "folds": validation.folds}


def _announce(trials: Trials) -> None:
    config, search = trials.config, trials.search
    name = trials.contender.name
    if EACH_DEPTH not in search.known:
        log.info(
            "search %s: the configured learning rates and depth are only the first trial "
            "(search=off uses them as they stand)",
            name,
        )
    log.info("search %s: %s", name, trials.validating.validation.reason)
    differs = reproducible(search)
    if search.workers > 1 and differs is not None:
        log.info("search %s: %s", name, differs)
    for warning in (unlearned(search, trials.depths, len(trials.units)), flattered(trials.base)):
        if warning is not None:
            log.warning("search %s: %s", name, warning)
    if config.trainer.devices > 1 or config.trainer.nodes > 1:
        log.info(
            "search %s: each trial trains in one process; trainer.devices and trainer.nodes are for "
            "pretraining and fine-tuning (search.workers runs trials side by side)",
            name,
        )
