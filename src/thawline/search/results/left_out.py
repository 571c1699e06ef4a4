"""What the chosen trial said of pictures it was not trained on, for whoever fits probabilities to it."""

from pathlib import Path

from thawline.search.trial.outcomes import load_logits, write_arrays
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
        write_arrays(path, logits=logits, labels=trials.validating.labels)
