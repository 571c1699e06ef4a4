"""Live progress of a study: the best so far, what became of the trials, and the time left."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

import optuna
from optuna.trial import FrozenTrial, TrialState

from thawline.progress import progress
from thawline.search.study.study import STATES, best, counted
from thawline.search.task import Task


@contextmanager
def shown(study: optuna.Study, task: Task, label: str) -> Iterator[Callable[[], None]]:
    """Show progress for the length of the block; yields a function that shows what has changed since."""
    total = next(index for index in count() if task.slot(index) is None)
    done = len(counted(study))
    with progress(label, total, done) as advance:

        def update() -> None:
            nonlocal done
            trials = counted(study)
            if len(trials) > done:
                advance(len(trials) - done, note(trials))
                done = len(trials)

        yield update


def note(trials: list[FrozenTrial]) -> str:
    """Return e.g. "best 0.913, 12 complete, 3 pruned"."""
    found = best(trial for trial in trials if trial.state is TrialState.COMPLETE)
    states = Counter(trial.state for trial in trials)
    parts = [f"best {found.values[0]:.3f}"] if found else []
    parts += [f"{states[state]} {name}" for state, name in STATES.items() if states[state]]
    return ", ".join(parts)
