"""The recipe that a study chooses, or why there is none."""

from dataclasses import replace

import optuna

from thawline.config.errors import UserError
from thawline.config.sections import Contender
from thawline.models.depth import resolve_depth
from thawline.search.results.winner import corrected_accuracy, selected, simplest_trial
from thawline.search.study.study import REASON, counted
from thawline.search.trial.trials import Trials, unit_name
from thawline.training.recipe import Chosen


def chosen(trials: Trials, study: optuna.Study | None) -> Chosen:
    """Return the recipe of the simplest trial that is not told from the best; the configured one where there
    was no search.

    Raises `UserError` where no trial is complete.
    """
    recipe, evidence = trials.decided(trials.base), None
    if study is not None:
        total, validating, outcomes = trials.total, trials.validating, trials.outcomes
        trial = simplest_trial(study, total, validating.groups, outcomes)
        if trial is None:
            raise none_left("trials", trials.contender, study, total)
        recipe = trials.recipe(trial)
        corrected = corrected_accuracy(study, trial, total, validating, outcomes, trials.config.seed)
        evidence = selected(study, trial, total, validating, corrected)
    depth = resolve_depth(recipe.depth, trials.units)
    if depth == len(trials.units):
        recipe = replace(recipe, depth="all")
    unit = unit_name(trials.units, depth)
    return Chosen(trials.contender, recipe, depth, unit, evidence, trials.linear_head)


def none_left(what: str, contender: Contender, study: optuna.Study, total: int | None = None) -> UserError:
    """Say that none of the study's trials is complete, for which reason at last, and what to change.

    Args:
        what: the word for trials of this study.
        total: how many trials it has; None: all there are.
    """
    over = counted(study, total)
    reasons = [trial.user_attrs[REASON] for trial in over if REASON in trial.user_attrs]
    last = reasons[-1] if reasons else "none given"
    advice = (
        "raise that limit, or search depths and methods that need less"
        if "search.limit" in last
        else "lower the ends of search.space: head_lr.high, scratch_lr.high and body_lr.high"
    )
    return UserError(
        f"all {len(over)} {what} of {contender.name} failed or were pruned.\n"
        f"  last reason: {last}\n  {advice}"
    )
