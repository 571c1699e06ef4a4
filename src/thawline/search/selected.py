"""What recipe.json says of the trial that was selected, and how good it is to be expected to be."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from thawline.search.correction import corrected
from thawline.search.kept import kept_outcomes
from thawline.search.study import PLACE, counted
from thawline.search.validating import Validating
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
    `images`; the former `corrected` for having been selected; and how that was validated, `validation`.

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
    corrected cross-validation over the complete trials (`thawline.search.correction`). None, and a warning,
    where the outcomes of some of them are gone: the others alone would have chosen another way."""
    trials = [
        trial
        for trial in counted(study, total)
        if trial.state is TrialState.COMPLETE and all(value <= 0 for value in trial.constraints.values())
    ]
    found, correct, losses = kept_outcomes(outcomes, [trial.user_attrs[PLACE] for trial in trials])
    if len(found) < len(trials):
        log.warning(
            "%s lacks the outcomes of %d trials: the accuracy of trial %d is not corrected for its selection "
            "(workers on several machines need one scratch folder that all of them can write to)",
            *(outcomes, len(trials) - len(found), best.number),
        )
        return None
    # ties are broken as the study breaks them
    costs = [trial.values[1] for trial in trials if len(trial.values) > 1]
    told = corrected(correct, validating.groups, losses=np.array(costs) if costs else losses, seed=seed)
    return {"mean": told.mean, "low": told.low, "high": told.high}
