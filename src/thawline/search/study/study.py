"""A study that can be gone on with: the same one by name and by content, and what its trials came to."""

import json
import math
from pathlib import Path
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from thawline.config.errors import UserError
from thawline.search.study.database import alone, connect, explained, location
from thawline.search.study.samplers import pruner, sampler
from thawline.search.study.time_limit import set_limit
from thawline.search.task import PLACE, Task

PROCESS, DEATHS, RUN, REASON = "process", "deaths", "run", "reason"
"""User attributes of a trial, beside its place: the process that runs it (or ran it last), how often that
process died, its run in MLflow, and why it was pruned or failed."""

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
"""How the states of a trial are called, in the order they are shown."""

SHOWN = 8
"""How many differing settings a refusal lists."""


def open_study(task: Task, database: Path) -> optuna.Study:
    """The study `task.name` in `search.storage` or the sqlite file `database`, made where there is none.

    Raises `UserError` where the study that exists was decided by something else, or where the database
    cannot be used.
    """
    storage = connect(task.search, database)
    with explained(location(task.search, database)):
        study = optuna.create_study(
            study_name=task.name,
            storage=storage,
            directions=[StudyDirection[each.upper()] for each in task.directions],
            sampler=sampler(task.search, task.seed, len(task.directions)),
            pruner=pruner(task.search, task.steps),
            load_if_exists=True,
        )
        with alone(study):
            former, now = study.user_attrs.get(DECISIVE), plain(task.decisive)
            if former is None:
                study.set_user_attr(DECISIVE, now)
            elif former != now:
                raise other_study(task.name, former, now)
            set_limit(study, task.search)
    return study


def plain(value: Any) -> Any:
    """`value` as the database gives it back."""
    return json.loads(json.dumps(value))


def other_study(name: str, former: dict[str, Any], now: dict[str, Any]) -> UserError:
    """What differs between what decided the study `name` and what is asked for now, field by field."""
    was, is_ = flat(former), flat(now)
    differing = [field for field in sorted(was.keys() | is_.keys()) if was.get(field) != is_.get(field)]
    lines = [f"  {field}: study has {was.get(field)}, now {is_.get(field)}" for field in differing[:SHOWN]]
    if len(differing) > SHOWN:
        lines.append(f"  … and {len(differing) - SHOWN} more")
    return UserError(
        f"The study {name!r} was decided by other settings or data, so it cannot be gone on with.\n"
        + "\n".join(lines)
        + "\n  Go back to what the study has, or begin another one: search.study=another_name"
    )


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values as `section.field` → value."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        inner = flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {}
        found |= inner or {f"{prefix}{key}": value}
    return found


def places(study: optuna.Study) -> list[FrozenTrial]:
    """All trials, in the order of their places: there is one for each place."""
    trials = [trial for trial in study.get_trials(deepcopy=False) if PLACE in trial.user_attrs]
    return sorted(trials, key=lambda trial: trial.user_attrs[PLACE])


def counted(study: optuna.Study, total: int | None = None) -> list[FrozenTrial]:
    """Trials that are complete, pruned or failed, by place; with `total` only those of the first `total`
    places, so that a smaller total than last time gives what it always gives."""
    return [trial for trial in places(study)[:total] if trial.state in SETTLED]


def eligible(study: optuna.Study, total: int | None = None) -> list[FrozenTrial]:
    """Of the first `total` places, the trials that may be chosen, by place: complete, and within their
    limits."""
    return [
        trial
        for trial in counted(study, total)
        if trial.state is TrialState.COMPLETE and all(value <= 0 for value in trial.constraints.values())
    ]


def best_trial(study: optuna.Study, total: int | None = None) -> FrozenTrial | None:
    """Of the first `total` places, the complete trial with the highest (first) value that keeps its limits.

    Ties go to the lower cost (the second value, where there is one), then to the lower validation loss,
    then to the earlier place. None if there is none.
    """
    return min(eligible(study, total), key=_rank, default=None)


def _rank(trial: FrozenTrial) -> tuple[float, ...]:
    value, *costs = trial.values
    return (-value, *costs, trial.user_attrs.get("val_loss", math.inf), trial.user_attrs[PLACE])


def report(trial: Trial, value: float, step: int) -> None:
    """Tell the pruner how the trial does after `step` (from 0); higher is better.

    A trial that was given back after its worker's death makes its reports again: those that the
    database has already are not made twice. A study of several objectives has no reports.
    """
    reported = trial._cached_frozen_trial.intermediate_values
    if len(trial.study.directions) == 1 and step not in reported:
        trial.report(value, step)
