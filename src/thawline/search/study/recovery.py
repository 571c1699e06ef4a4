"""A trial whose worker ends before the trial does goes back to waiting: not lost, and not counted twice.

The trial itself goes back, with its number and the parameters it has, so that a study never holds more
trials than places. Who runs a trial is written in it; a worker on this machine is looked up, one elsewhere
says every few seconds that it lives.
"""

import logging
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress

from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from thawline import tracking
from thawline.config.search import Search
from thawline.search.study.database import database_time
from thawline.search.study.study import DEATHS, PROCESS, REASON, RUN, SIGN, SharedStudy
from thawline.tracking.origin import is_dead, is_elsewhere

log = logging.getLogger(__name__)


def sign(study: SharedStudy, number: int, process: str) -> None:
    """Write into a trial that `process` runs it, from now on."""
    # a process without a sign of life is known as dead, a sign without a process as well
    study.set_trial_attr(number, SIGN, database_time(study.database.engine))
    study.set_trial_attr(number, PROCESS, process)


@contextmanager
def signs_of_life(study: SharedStudy, trial: Trial, seconds: float) -> Iterator[None]:
    """While the block runs, say every `seconds` that the trial's worker lives."""
    done = threading.Event()

    def say() -> None:
        while not done.wait(seconds):
            # a database that does not answer now may do so next time; a trial that is over needs no signs
            with suppress(SQLAlchemyError, StorageInternalError, UpdateFinishedTrialError, OSError):
                study.set_trial_attr(trial.number, SIGN, database_time(study.database.engine))

    thread = threading.Thread(target=say, name="signs of life", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def recover(study: SharedStudy, search: Search) -> list[int]:
    """Put back the trials whose worker died, or fail those that `search.attempts` workers died of; return
    their numbers. Called while the study's lock is held."""
    now = database_time(study.database.engine)
    dead = [trial for trial in study.running() if _has_lost_its_worker(trial, now - search.grace)]
    for trial in dead:
        if trial.constraints:
            # a limit that it exceeded is stored last, so that only the telling was missed
            study.tell(trial.number, state=TrialState.PRUNED)
        else:
            _count_death(study, trial, search.attempts)
    return [trial.number for trial in dead]


def give_back(study: SharedStudy, processes: Collection[str]) -> None:
    """Let the trials that run in `processes`, which were stopped on purpose, wait again. So do those without
    a process: whoever asked for them was stopped before it signed, since the lock is ours."""
    with study.alone():
        for trial in study.running():
            if trial.user_attrs.get(PROCESS) in {None, *processes}:
                _put_back(study, trial, "stopped")


def supersede(trial: Trial | FrozenTrial, state: str, reason: str) -> None:
    """End the trial's run in MLflow. Before Optuna is told: what dies in between is put back, and its run
    superseded again."""
    if RUN in trial.user_attrs:
        tracking.supersede(trial.user_attrs[RUN], state, reason)


def _has_lost_its_worker(trial: FrozenTrial, oldest: float) -> bool:
    process = trial.user_attrs.get(PROCESS)
    if process is None or is_dead(process):
        return True
    # a machine that slept is no reason to think its own workers dead
    return is_elsewhere(process) and trial.user_attrs[SIGN] < oldest


def _count_death(study: SharedStudy, trial: FrozenTrial, attempts: int) -> None:
    deaths = trial.user_attrs.get(DEATHS, 0) + 1
    study.set_trial_attr(trial.number, DEATHS, deaths)
    log.info("trial %d: its worker died (%d of at most %d times)", trial.number, deaths, attempts)
    if deaths < attempts:
        _put_back(study, trial, "its worker died")
        return
    reason = f"its worker died {deaths} times (out of memory?)"
    supersede(trial, "failed", reason)
    study.set_trial_attr(trial.number, REASON, reason)
    study.tell(trial.number, state=TrialState.FAIL)


def _put_back(study: SharedStudy, trial: FrozenTrial, reason: str) -> None:
    supersede(trial, "interrupted", reason)
    study.put_back(trial.number)
