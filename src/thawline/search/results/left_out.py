"""What the chosen trial said of pictures it was not trained on, for whoever fits probabilities to it."""

from pathlib import Path

import numpy as np

from thawline.artifacts import atomic_path
from thawline.search.trial.outcomes import load_logits
from thawline.search.trial.trials import Trials
from thawline.training.recipe import Chosen


def write_left_out(path: Path, trials: Trials, found: Chosen) -> None:
    """Write `logits` (N, classes) and `labels` (N,) of the pictures that validated the chosen trial; no file
    where there was no search, or where what the trial said is gone."""
    path.unlink(missing_ok=True)
    if found.selected is None:
        return
    logits = load_logits(trials.outcomes, found.selected["trial"])
    if logits is not None:
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, logits=logits, labels=trials.validating.labels)
