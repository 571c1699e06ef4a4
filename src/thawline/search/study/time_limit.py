"""The moment at which a study has to end with what it has: kept in it, so that all of its workers know."""

import time
from statistics import median

import optuna
from optuna.trial import FrozenTrial, TrialState

DEADLINE = "deadline"
"""User attribute of a study: seconds since 1970, null for as long as it needs; each call sets it anew."""

TIME_IS_UP = "the study's time was up"
"""Beginning of the reason of a trial that was pruned for that."""


def set_deadline(study: optuna.Study, seconds: float | None) -> None:
    """Let the study end in so many `seconds`; None: when all of its trials are done."""
    deadline = None if seconds is None else time.time() + seconds
    if deadline is not None or study.user_attrs.get(DEADLINE) is not None:
        study.set_user_attr(DEADLINE, deadline)


def seconds_left(study: optuna.Study) -> float | None:
    """Return the seconds left of the study's time; None where it has as much as it needs."""
    deadline = study.user_attrs.get(DEADLINE)
    return None if deadline is None else deadline - time.time()


def time_is_up(study: optuna.Study) -> bool:
    """Tell whether a trial that still runs should stop: raise `optuna.TrialPruned`.

    Not before one is complete, however little time there is: a search without any comes to nothing.
    """
    left = seconds_left(study)
    return left is not None and left <= 0 and bool(_complete(study))


def too_late_to_begin(study: optuna.Study) -> bool:
    """Tell whether a trial begun now would be cut off: less than half of a usual trial's time is left."""
    left = seconds_left(study)
    if left is None:
        return False
    durations = [trial.duration.total_seconds() for trial in _complete(study) if trial.duration]
    return bool(durations) and left <= median(durations) / 2


def _complete(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
