"""One worker: it asks for a trial, runs it and tells what it came to, until the study is over."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, Trial, TrialState

from thawline import tracking
from thawline.artifacts import Artifacts
from thawline.config.errors import UserError, first_line
from thawline.config.sections import Config
from thawline.search.study.database import explained, location
from thawline.search.study.recovery import give_back, recover, sign, signs_of_life, supersede
from thawline.search.study.study import PROCESS, REASON, RUN, SharedStudy, open_study
from thawline.search.study.time_limit import too_late_to_begin
from thawline.search.task import LimitExceededError, Task
from thawline.tracking.origin import this_process

Make = Callable[[Config, Artifacts], Task]
"""Importable by name: every worker makes its own task with it."""

POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Work:
    """The orders of every worker of a study."""

    make: Make
    config: Config
    artifacts: Artifacts
    parent: str
    study: str

    def do(self) -> None:
        """Be one of the workers until there is nothing left to do."""
        if self.parent:
            tracking.connect(self.config.tracking.uri, self.config.tracking.experiment, self.artifacts.root)
        task = self.make(self.config, self.artifacts)
        if task.name != self.study:
            raise RuntimeError(f"a worker's study is {task.name}, its parent's {self.study}: see Task.name")
        study = open_study(task, self.artifacts.studies)
        with explained(location(self.config.search, self.artifacts.studies)):
            run_trials(task, study, self.parent)


def run_trials(task: Task, study: SharedStudy, parent: str, after: Callable[[], None] = lambda: None) -> None:
    """Ask for trials, run them and tell what they came to; call `after` after each.

    Waits for the trials of other workers, so that the last ones to die are made up for too. An interruption
    gives this process's trial back and goes on to the caller.
    """
    try:
        while True:
            trial = ask(study, task)
            if trial is not None:
                run_and_tell(study, task, trial, parent)
            elif may_come_back(study, task):
                time.sleep(POLL_SECONDS)
            else:
                return
            after()
    except BaseException:
        give_back(study, {this_process()})
        raise


def ask(study: SharedStudy, task: Task) -> Trial | None:
    """Return the next trial for this process: one that waits, else one for the next place. None where there
    is nothing to do, now at least: a trial that runs elsewhere may come back (`may_come_back`)."""
    with study.alone():
        recover(study, task.search)
        trials = study.get_trials(deepcopy=False)
        if too_late_to_begin(study) or not (_waits(trials, task) or _add_place(study, task, len(trials))):
            return None
        trial = study.ask()
        # whoever dies before it has signed leaves a trial that the next to hold the lock puts back
        sign(study, trial.number, this_process())
        return trial


def run_and_tell(study: SharedStudy, task: Task, trial: Trial, parent: str) -> TrialState:
    """Run the trial and tell the study how it ended. Return its state.

    That is WAITING or RUNNING where it has been given to another worker in the meantime (this process was
    thought dead), in which case this attempt does not count. An interruption goes on to the caller.
    """
    values: list[float] | None = None
    ended: Exception | None = None
    try:
        with signs_of_life(study, trial, task.search.heartbeat):
            values, state = _values(task.objective(trial, parent)), TrialState.COMPLETE
    except optuna.TrialPruned as pruned:
        state, ended = TrialState.PRUNED, pruned
    except (UserError, UpdateFinishedTrialError) as error:
        # another worker has told of this trial, or it failed
        state, ended = TrialState.FAIL, error
    with study.alone():
        now = study.trial(trial.number)
        if now.state is not TrialState.RUNNING or now.user_attrs.get(PROCESS) != this_process():
            supersede(trial, "interrupted", "its trial was given to another worker")
            return now.state
        if trial.user_attrs.get(RUN) != now.user_attrs.get(RUN):
            # a worker that was thought dead had stored its own
            trial.set_user_attr(RUN, trial.user_attrs.get(RUN))
        if ended is not None:
            trial.set_user_attr(REASON, first_line(ended))
        if state is TrialState.FAIL:
            supersede(trial, "failed", first_line(ended) if ended else "")
        if isinstance(ended, LimitExceededError):
            trial.set_constraint(ended.name, ended.excess)
        study.tell(trial, values, state)
    return state


def may_come_back(study: SharedStudy, task: Task) -> bool:
    """Tell whether there may be something to ask for later: trials of other workers, which may die."""
    trials = study.get_trials(deepcopy=False)
    runs = any(trial.state is TrialState.RUNNING for trial in trials)
    return runs or (_waits(trials, task) and not too_late_to_begin(study))


def _waits(trials: list[FrozenTrial], task: Task) -> bool:
    """Tell whether a trial waits that the study still has a place for: one given back before the total was
    lowered has none. Optuna gives out the earliest first, so that one with a place comes before those."""
    waiting = (trial.number for trial in trials if trial.state is TrialState.WAITING)
    return any(task.slot(number) is not None for number in waiting)


def _add_place(study: SharedStudy, task: Task, index: int) -> bool:
    """Let a trial for the place `index` wait; False where the study has no such place."""
    slot = task.slot(index)
    if slot is not None:
        study.enqueue_trial(dict(slot.params), user_attrs=dict(slot.attrs))
    return slot is not None


def _values(value: float | tuple[float, ...]) -> list[float]:
    values = list(value) if isinstance(value, tuple) else [value]
    if any(math.isnan(each) for each in values):
        raise UserError("what the trial came to is not a number")
    return values
