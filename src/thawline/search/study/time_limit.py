"""The time a study has used, over all calls and whatever the number of workers.

It is kept in the study. Workers and their parent mark the time every few seconds while they live; the time
between two marks counts unless it is so long that nobody can have been at work.
"""

import time
from statistics import median
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from thawline.config.search import Search

CLOCK, LIMIT = "clock", "limit_seconds"
"""User attributes of a study: the seconds used, and when that was last brought up to date (seconds since
1970), in one attribute, so that nobody finds the one without the other; and how many it may use in all, null
for as many as it needs."""

IDLE_SECONDS = 60.0
"""Where the last mark is older, nobody was at work since."""


def set_limit(study: optuna.Study, search: Search) -> None:
    """Store what `search.minutes` allows now; it may be more or less than in an earlier call."""
    seconds = search.minutes * 60 if search.minutes else None
    if study.user_attrs.get(LIMIT, ...) != seconds:
        study.set_user_attr(LIMIT, seconds)


def mark_time(study: optuna.Study) -> None:
    """Count the time since the last mark as used. Called while the study's lock is held."""
    attributes, now = study.user_attrs, time.time()
    if attributes.get(LIMIT) is None:
        return
    # a machine whose clock is behind must not count what one that is ahead has counted already
    marked = max(now, attributes.get(CLOCK, (0.0, now))[1])
    study.set_user_attr(CLOCK, (_used(attributes, now), marked))


def seconds_used(study: optuna.Study) -> float:
    """Return the seconds used up to the last mark; 0 for a study whose time was never limited."""
    return float(study.user_attrs.get(CLOCK, (0.0,))[0])


def seconds_left(study: optuna.Study) -> float | None:
    """Return the seconds left of the study's time; None where it has as much as it needs."""
    attributes = study.user_attrs
    limit = attributes.get(LIMIT)
    return None if limit is None else limit - _used(attributes, time.time())


def _used(attributes: dict[str, Any], now: float) -> float:
    used, marked = attributes.get(CLOCK, (0.0, now))
    return used + (now - marked if 0 < now - marked <= IDLE_SECONDS else 0.0)


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
    return left <= (median(durations) / 2 if durations else 0)


def _complete(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
