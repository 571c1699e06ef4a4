"""Places of a study are claimed, settled, or given back: never lost, never counted twice.

A trial is its worker's from `claim` to `settle`. Where the worker dies in between, the trial itself goes back
to waiting, with the parameters it has, so that a study never holds more trials than places.
"""

import logging
import math
import threading
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress

import optuna
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from thawline import tracking
from thawline.config.errors import UserError
from thawline.search.study.database import alone, backend_of, forget_constraints
from thawline.search.study.study import DEATHS, PROCESS, REASON, RUN, places
from thawline.search.study.time_limit import mark_time, too_late_to_begin
from thawline.search.task import PLACE, Task
from thawline.tracking.origin import is_dead, is_elsewhere, this_process

log = logging.getLogger(__name__)

MARK_SECONDS = 5.0
"""At most so long between two signs of life."""


def claim(study: optuna.Study, task: Task) -> Trial | None:
    """The next trial for this process: one that waits, else one for the next place. None where there is
    nothing to do, now at least: a trial that runs elsewhere may come back (`may_come_back`)."""
    with alone(study):
        mark_time(study)
        requeue_dead(study, task.search.attempts)
        if too_late_to_begin(study) or not (_waits(study, task) or _add_place(study, task)):
            return None
        trial = _ask(study)
        # without `process` the trial is known as an orphan to whoever holds the lock next
        backend_of(study).record_heartbeat(trial._trial_id)
        trial.set_user_attr(PROCESS, this_process())
        return trial


def settle(study: optuna.Study, task: Task, trial: Trial, parent: str) -> TrialState:
    """Run the trial and tell the study how it ended; an interruption gives it back and goes on to the caller.

    Returns its state: WAITING or RUNNING where it has been given to another worker in the meantime (this
    process was thought dead), in which case this attempt does not count.
    """
    values, reason = None, None
    try:
        values, state = _values(task.objective(trial, parent)), TrialState.COMPLETE
    except optuna.TrialPruned as pruned:
        state, reason = TrialState.PRUNED, _first_line(pruned)
    except UserError as error:
        state, reason = TrialState.FAIL, _first_line(error)
    except UpdateFinishedTrialError:
        state = TrialState.FAIL  # another worker settled it
    except BaseException:
        give_back(study, {this_process()})
        raise
    with alone(study):
        mark_time(study)
        now = trial.storage.get_trial(trial._trial_id)
        if now.state is not TrialState.RUNNING or now.user_attrs.get(PROCESS) != this_process():
            _supersede(trial, "interrupted", "its trial was given to another worker")
            return now.state
        _tell(study, trial, now, values, state, reason)
    return state


def _tell(
    study: optuna.Study,
    trial: Trial,
    now: FrozenTrial,
    values: list[float] | None,
    state: TrialState,
    reason: str | None,
) -> None:
    """Tell the study how `trial`, which is stored as `now`, ended."""
    run = trial.user_attrs.get(RUN)
    if run != now.user_attrs.get(RUN):
        trial.set_user_attr(RUN, run)  # one that was thought dead had stored its own
    if reason is not None:
        trial.set_user_attr(REASON, reason)
    if state is TrialState.FAIL:
        _supersede(trial, "failed", reason or "")
    study.tell(trial, values, state)


def requeue_dead(study: optuna.Study, attempts: int) -> list[int]:
    """Trials whose worker died go back to waiting, or fail where `attempts` workers died of them; return
    their places. Called while the study's lock is held."""
    stale = set(backend_of(study)._get_stale_trial_ids(study._study_id))
    dead = [trial for trial in _running(study) if _has_lost_its_worker(trial, stale)]
    for trial in dead:
        _bury(study, trial, attempts)
    return [trial.user_attrs[PLACE] for trial in dead]


def give_back(study: optuna.Study, processes: Collection[str]) -> None:
    """Trials that run in `processes` go back to waiting: they were stopped on purpose. So do those without
    a process: whoever claimed them was stopped before it signed, since the lock is ours."""
    with alone(study):
        for trial in _running(study):
            if trial.user_attrs.get(PROCESS) in {None, *processes}:
                _requeue(study, trial, "stopped")


def may_come_back(study: optuna.Study, task: Task) -> bool:
    """Whether there may be something to claim later: trials that run in other workers, which may die."""
    return bool(_running(study)) or (_waits(study, task) and not too_late_to_begin(study))


@contextmanager
def signs_of_life(study: optuna.Study, trial: Trial, seconds: float) -> Iterator[None]:
    """While the block runs, say every `seconds` that the trial's worker lives, and mark the study's time."""
    done = threading.Event()
    every = min(seconds, MARK_SECONDS)

    def say() -> None:
        while not done.wait(every):
            # a database that does not answer now may do so next time
            with suppress(SQLAlchemyError, StorageInternalError, OSError):
                backend_of(study).record_heartbeat(trial._trial_id)
                with alone(study):
                    mark_time(study)

    thread = threading.Thread(target=say, name="signs of life", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _waits(study: optuna.Study, task: Task) -> bool:
    """Whether a trial waits that the study still has a place for: one given back before the total was
    lowered has none. Optuna gives out the earliest first, so that one with a place comes before those."""
    waiting = [trial for trial in places(study) if trial.state is TrialState.WAITING]
    return any(task.slot(trial.user_attrs[PLACE]) is not None for trial in waiting)


def _running(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))


def _add_place(study: optuna.Study, task: Task) -> bool:
    """Let a trial for the next place wait; False where the study has no more places."""
    index = len(places(study))
    slot = task.slot(index)
    if slot is not None:
        study.enqueue_trial(dict(slot.params), user_attrs={**slot.attrs, PLACE: index})
    return slot is not None


def _ask(study: optuna.Study) -> Trial:
    with warnings.catch_warnings():
        # `signs_of_life` records what Study.optimize would
        warnings.filterwarnings("ignore", "Heartbeat of storage is supposed to be used with Study.optimize")
        return study.ask()


def _values(value: float | tuple[float, ...]) -> list[float]:
    values = list(value) if isinstance(value, tuple) else [value]
    if any(math.isnan(each) for each in values):
        raise UserError("what the trial came to is not a number")
    return values


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _has_lost_its_worker(trial: FrozenTrial, stale: Collection[int]) -> bool:
    process = trial.user_attrs.get(PROCESS)
    if process is None or is_dead(process):
        return True
    return is_elsewhere(process) and trial._trial_id in stale


def _bury(study: optuna.Study, trial: FrozenTrial, attempts: int) -> None:
    deaths = trial.user_attrs.get(DEATHS, 0) + 1
    study._storage.set_trial_user_attr(trial._trial_id, DEATHS, deaths)
    log.info("trial %d: its worker died (%d of at most %d times)", trial.number, deaths, attempts)
    if deaths < attempts:
        _requeue(study, trial, "its worker died")
        return
    reason = f"its worker died {deaths} times (out of memory?)"
    _supersede(trial, "failed", reason)
    study._storage.set_trial_user_attr(trial._trial_id, REASON, reason)
    study.tell(trial.number, state=TrialState.FAIL)


def _requeue(study: optuna.Study, trial: FrozenTrial, reason: str) -> None:
    _supersede(trial, "interrupted", reason)
    if trial.constraints:
        forget_constraints(study, trial)
    study._storage.set_trial_state_values(trial._trial_id, state=TrialState.WAITING)


def _supersede(trial: Trial | FrozenTrial, state: str, reason: str) -> None:
    """MLflow before Optuna: what dies in between is requeued, and its run superseded again."""
    if RUN in trial.user_attrs:
        tracking.supersede(trial.user_attrs[RUN], state, reason)
