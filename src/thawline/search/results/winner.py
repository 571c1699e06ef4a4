"""The trial that is selected, as recipe.json describes it, with the accuracy to expect of it.

It is the simplest that the validation pictures do not tell from the best (`statistics.one_standard_error`).
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial

from thawline.search.study.study import best_trial, complete, counted
from thawline.search.trial.outcomes import load_outcomes
from thawline.search.trial.validation import Validating
from thawline.statistics.bootstrap import clusters_of
from thawline.statistics.one_standard_error import simplest
from thawline.statistics.selection_bias import corrected as bias_corrected
from thawline.training.recipe import plain

log = logging.getLogger(__name__)


def simplest_trial(
    study: optuna.Study, total: int | None, groups: np.ndarray | None, outcomes: Path
) -> FrozenTrial | None:
    """Return the trial that is selected: the simplest that is not told from the best; the best where the
    outcomes of some are gone, and None where no trial is complete.

    Args:
        total: places of the study; None: as many as there are.
        groups: (N,) of the pictures that validated, alike where they are not independent; None: all are.
        outcomes: the folder with what each trial said of every picture.
    """
    best, trials = best_trial(study, total), complete(study, total)
    found, correct, _ = load_outcomes(outcomes, [trial.number for trial in trials])
    if best is None or len(found) < len(trials):
        return best
    clusters, numbers = clusters_of(correct.shape[1], groups), np.array(found)
    row = simplest(
        correct,
        np.flatnonzero(numbers == best.number),
        _frozen(trials),
        clusters,
        np.ones((len(clusters), 1)),
    )
    return trials[int(row[0])]


def selected(
    study: optuna.Study,
    trial: FrozenTrial,
    total: int | None,
    validating: Validating,
    corrected: dict[str, float] | None,
) -> dict[str, Any]:
    """Describe the trial that was selected.

    Returns `trial`, its number, of so many `trials`; its `val_accuracy` and `val_loss` on so many
    `images`; the former `corrected` for having been selected; how that was validated, `validation`; and
    `best`, None or number and accuracy of the trial that measured better.

    Args:
        total: places of the study; None: as many as there are.
        corrected: mean, low and high of the accuracy to expect on other pictures; None where it is unknown.
    """
    best = best_trial(study, total)
    beaten = best is not None and best.values[0] > trial.values[0]
    return {
        "trial": trial.number,
        "trials": len(counted(study, total)),
        "val_accuracy": trial.values[0],
        "val_loss": trial.user_attrs["val_loss"],
        "corrected": corrected,
        "best": {"trial": best.number, "val_accuracy": best.values[0]} if best and beaten else None,
        "images": validating.images,
        "validation": plain(validating.validation),
    }


def corrected_accuracy(
    study: optuna.Study,
    trial: FrozenTrial,
    total: int | None,
    validating: Validating,
    outcomes: Path,
    seed: int,
) -> dict[str, float] | None:
    """Return mean, low and high of the accuracy to expect of the selected trial on other pictures.

    It is bootstrap bias corrected cross-validation over the complete trials (`statistics.selection_bias`).
    None, and a warning, where the outcomes of some are gone: the others would have chosen another way.
    """
    trials = complete(study, total)
    found, correct, losses = load_outcomes(outcomes, [each.number for each in trials])
    if len(found) < len(trials):
        log.warning(
            "%s lacks the outcomes of %d trials: the accuracy of trial %d is not corrected for its selection "
            "(workers on several machines need one scratch folder that all of them can write to)",
            *(outcomes, len(trials) - len(found), trial.number),
        )
        return None
    evaluate, costs = validating.config.evaluate, [each.values[1] for each in trials if each.values[1:]]
    mean, low, high = bias_corrected(
        correct,
        validating.groups,
        losses=by_cost_then_loss(np.array(costs), losses) if costs else losses,
        frozen=_frozen(trials),
        resamples=evaluate.resamples,
        confidence=evaluate.confidence,
        seed=seed,
    )
    return {"mean": mean, "low": low, "high": high}


def _frozen(trials: Sequence[FrozenTrial]) -> np.ndarray:
    """Return how many units each trial froze."""
    return np.array([trial.user_attrs.get("depth", 0) for trial in trials])


def by_cost_then_loss(costs: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """Return (T, N) what breaks ties as the study breaks them: the mean over any pictures, the same for all
    trials, is lower where the cost (T,) is, and of equal costs where the mean of the `losses` (T, N) is."""
    # a share below 1 of a rank can decide only among equal ranks
    return np.unique(costs, return_inverse=True)[1][:, None] + losses / (losses.max() + 1)
