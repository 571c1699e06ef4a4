"""A study that several processes work on and that can be gone on with, and what its trials came to."""

import json
import math
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from thawline.config.composition import flatten
from thawline.config.errors import UserError
from thawline.search.study.database import connect, explained, location, one_at_a_time
from thawline.search.study.samplers import pruner, sampler
from thawline.search.task import Task

PROCESS, SIGN, DEATHS, RUN, REASON = "process", "sign_of_life", "deaths", "run", "reason"
"""User attributes of a trial: the process that runs it (or ran it last), when that last said that it lives
(seconds since 1970 by the database's clock), how often such a process died, the trial's run in MLflow, and
why it was pruned or failed."""

DECISIVE = "decisive"
"""User attribute of a study: what decides its trials."""

SETTLED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}
"""Words for the states of a trial, in the order they are shown."""

SHOWN = 8
"""So many differing settings a refusal lists."""


class SharedStudy(optuna.Study):
    """A study with its database at hand, for what Optuna's own interface of a study does not offer: a lock,
    and changes to a trial that another process began."""

    def __init__(self, name: str, database: RDBStorage, task: Task) -> None:
        super().__init__(
            name,
            database,
            sampler(task.search, task.seed),
            pruner(task.search, task.steps),
        )
        self.database = database

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the study's lock for the length of the block, waiting for whoever holds it."""
        with one_at_a_time(self.database.engine, self.study_name):
            yield

    def trial(self, number: int) -> FrozenTrial:
        """Return the trial as the database has it now."""
        return self.get_trials(deepcopy=False)[number]

    def running(self) -> list[FrozenTrial]:
        """Return the trials that are running, by number."""
        return self.get_trials(deepcopy=False, states=(TrialState.RUNNING,))

    def set_trial_attr(self, number: int, name: str, value: Any) -> None:
        """Set a user attribute of a trial that is not over."""
        self.database.set_trial_user_attr(self._id_of(number), name, value)

    def put_back(self, number: int) -> None:
        """Let a trial that was running wait again, with the parameters it has."""
        self.database.set_trial_state_values(self._id_of(number), state=TrialState.WAITING)

    def _id_of(self, number: int) -> int:
        study = self.database.get_study_id_from_name(self.study_name)
        return self.database.get_trial_id_from_study_id_trial_number(study, number)


def open_study(task: Task, database: Path) -> SharedStudy:
    """Return the study `task.name` in `search.storage` or the sqlite file `database`; make it if it is new.

    Raises `UserError` where the study that exists was decided by something else, or where the database
    cannot be used.
    """
    storage = connect(task.search, database)
    with explained(location(task.search, database)):
        optuna.create_study(
            study_name=task.name,
            storage=storage,
            directions=[StudyDirection[each.upper()] for each in task.directions],
            load_if_exists=True,
        )
        study = SharedStudy(task.name, storage, task)
        with study.alone():
            former, now = study.user_attrs.get(DECISIVE), plain(task.decisive)
            if former is None:
                study.set_user_attr(DECISIVE, now)
            elif former != now:
                raise other_study(task.name, former, now)
    return study


def plain(value: Any) -> Any:
    """Return `value` as the database gives it back."""
    return json.loads(json.dumps(value))


def other_study(name: str, former: dict[str, Any], now: dict[str, Any]) -> UserError:
    """Say field by field how what decided the study `name` differs from what is asked for now."""
    was, is_ = flatten(former), flatten(now)
    differing = [field for field in sorted(was.keys() | is_.keys()) if was.get(field) != is_.get(field)]
    lines = [f"  {field}: study has {was.get(field)}, now {is_.get(field)}" for field in differing[:SHOWN]]
    if len(differing) > SHOWN:
        lines.append(f"  … and {len(differing) - SHOWN} more")
    return UserError(
        f"The study {name!r} was decided by other settings or data, so it cannot be gone on with.\n"
        + "\n".join(lines)
        + "\n  Go back to what the study has, or begin another one: search.study=another_name"
    )


def counted(study: optuna.Study, total: int | None = None) -> list[FrozenTrial]:
    """Return the trials that are complete, pruned or failed, by number; with `total` only those of the first
    `total`, so that a smaller total than last time gives what it always gives."""
    return [trial for trial in study.get_trials(deepcopy=False)[:total] if trial.state in SETTLED]


def complete(study: optuna.Study, total: int | None = None) -> list[FrozenTrial]:
    """Return, of the first `total`, the trials that may be chosen: one beyond a limit never completes."""
    return [trial for trial in counted(study, total) if trial.state is TrialState.COMPLETE]


def best_trial(study: optuna.Study, total: int | None = None) -> FrozenTrial | None:
    """Return the `best` of the first `total` trials; None where none is complete."""
    return best(complete(study, total))


def best(trials: Iterable[FrozenTrial]) -> FrozenTrial | None:
    """Return the complete trial with the highest (first) value. None if there is none.

    Ties go to the lower cost (the second value, where there is one), then to the lower validation loss,
    then to the earlier trial.
    """
    return min(trials, key=_rank, default=None)


def _rank(trial: FrozenTrial) -> tuple[float, ...]:
    value, *costs = trial.values
    return (-value, *costs, trial.user_attrs.get("val_loss", math.inf), trial.number)


def report(trial: Trial, value: float, step: int) -> None:
    """Tell the pruner how the trial does after `step` (from 0); higher is better.

    A trial that was given back after its worker's death makes its reports again: those that the database had
    when it began again are not made twice. A study of several objectives has no reports.
    """
    if len(trial.study.directions) > 1:
        return
    with warnings.catch_warnings():
        # the first report of a step stands: Optuna leaves out the others, and says so each time
        warnings.filterwarnings("ignore", "The reported value is ignored")
        trial.report(value, step)
