"""Live progress of a study: the best so far, what became of the trials, and the time left."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

import optuna

from thawline.progress import progress
from thawline.search.study.study import STATES, best_trial, counted
from thawline.search.study.time_limit import LIMIT, seconds_left
from thawline.search.task import Task


@contextmanager
def shown(study: optuna.Study, task: Task, label: str) -> Iterator[Callable[[], None]]:
    """Show progress for the length of the block; yields a function that shows what has changed since.

    Where the study's time is limited, how many trials there will be is not known: then the seconds count.
    """
    limit = study.user_attrs.get(LIMIT)
    total = int(limit) if limit else next(index for index in count() if task.slot(index) is None)
    done = _done(study, total if limit else None)
    with progress(f"{label} (seconds)" if limit else label, total, done) as advance:

        def update() -> None:
            nonlocal done
            now = min(total, _done(study, total if limit else None))
            if now > done:
                advance(now - done, note(study))
                done = now

        yield update


def _done(study: optuna.Study, limit: int | None) -> int:
    """Return the seconds used where there is a limit, else the trials settled."""
    return len(counted(study)) if limit is None else int(limit - (seconds_left(study) or 0))


def note(study: optuna.Study) -> str:
    """Return e.g. "best 0.913, 12 complete, 3 pruned"."""
    best = best_trial(study)
    states = Counter(trial.state for trial in counted(study))
    parts = [f"best {best.values[0]:.3f}"] if best else []
    parts += [f"{states[state]} {name}" for state, name in STATES.items() if states[state]]
    return ", ".join(parts)
