"""What recipe.json says of the trial that was selected, and how good it is to be expected to be."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial

from thawline.search.study.study import complete, counted
from thawline.search.trial.outcomes import load_outcomes
from thawline.search.trial.validation import Validating
from thawline.statistics.selection_bias import corrected
from thawline.training.recipe import plain

log = logging.getLogger(__name__)


def selected(
    study: optuna.Study,
    best: FrozenTrial,
    total: int | None,
    validating: Validating,
    outcomes: Path,
    seed: int,
) -> dict[str, Any]:
    """`trial`, the number of `best`, of so many `trials`; its `val_accuracy` and `val_loss` on so many
    `images`; the former `corrected` for having been selected, by the resamples and at the confidence of
    `evaluate`; and how that was validated, `validation`.

    Args:
        total: places of the study; None: as many as there are.
        outcomes: the folder with what each trial said of every picture.
        seed: of the correction.
    """
    return {
        "trial": best.number,
        "trials": len(counted(study, total)),
        "val_accuracy": best.values[0],
        "val_loss": best.user_attrs["val_loss"],
        "corrected": _corrected(study, best, total, validating, outcomes, seed),
        "images": validating.images,
        "validation": plain(validating.validation),
    }


def _corrected(
    study: optuna.Study,
    best: FrozenTrial,
    total: int | None,
    validating: Validating,
    outcomes: Path,
    seed: int,
) -> dict[str, float] | None:
    """Mean, low and high of the accuracy to expect of the best trial on other pictures, by bootstrap bias
    corrected cross-validation over the complete trials (`statistics.selection_bias`). None, and a warning,
    where the outcomes of some of them are gone: the others alone would have chosen another way."""
    trials = complete(study, total)
    found, correct, losses = load_outcomes(outcomes, [trial.number for trial in trials])
    if len(found) < len(trials):
        log.warning(
            "%s lacks the outcomes of %d trials: the accuracy of trial %d is not corrected for its selection "
            "(workers on several machines need one scratch folder that all of them can write to)",
            *(outcomes, len(trials) - len(found), best.number),
        )
        return None
    evaluate, costs = validating.config.evaluate, [trial.values[1] for trial in trials if trial.values[1:]]
    told = corrected(
        correct,
        validating.groups,
        losses=by_cost_then_loss(np.array(costs), losses) if costs else losses,
        resamples=evaluate.resamples,
        confidence=evaluate.confidence,
        seed=seed,
    )
    return {"mean": told.mean, "low": told.low, "high": told.high}


def by_cost_then_loss(costs: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """(T, N) what breaks ties as the study breaks them: the mean over any pictures, the same for all
    trials, is lower where the cost (T,) is, and of equal costs where the mean of the `losses` (T, N) is."""
    # a share below 1 of a rank can decide only among equal ranks
    return np.unique(costs, return_inverse=True)[1][:, None] + losses / (losses.max() + 1)
