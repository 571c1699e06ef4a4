"""Tables of a study: trials.csv and pareto.csv, the trials that no other beats in both ways."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import optuna
import pandas as pd
from optuna.trial import FrozenTrial

from thawline.search.study.study import PROCESS, REASON, STATES, counted

COLUMNS = (
    *("number", "state", "value", "val_loss", "depth", "unit", "head_lr", "body_lr", "epochs", "seconds"),
    *(REASON, "known", "training_flops", "trainable_parameters", "images", "started", "finished", "worker"),
)
"""Of trials.csv, before the searched choices that are not among them. `value` is the validation accuracy, on
so many `images`; `known` names a known recipe; `seconds` are those of the whole trial, `started` and
`finished` count from the start of the study; `worker` is the process that ran it."""

PARETO = ("trial", "depth", "unit", "head_lr", "body_lr", "val_accuracy", "training_flops", "seconds")
"""Of pareto.csv. `training_flops` are the operations of one training."""


def trials_table(study: optuna.Study | None, total: int | None, choices: Sequence[str] = ()) -> pd.DataFrame:
    """Return one row for each of the first `total` trials (None: all), by number; `COLUMNS` and then
    `choices`, the fields of a recipe that the search varies: a trial in which one means nothing has none."""
    trials = counted(study, total) if study else []
    start = min((trial.datetime_start for trial in trials if trial.datetime_start), default=None)
    more = [name for name in choices if name not in COLUMNS]
    return pd.DataFrame([_row(trial, start) for trial in trials], columns=[*COLUMNS, *more])


def pareto_table(study: optuna.Study | None, total: int | None) -> pd.DataFrame:
    """Return the complete trials that no other beats: every other is less accurate, or dearer to train, or
    the same in both. By increasing `training_flops`, with the columns `PARETO`."""
    table = trials_table(study, total)
    complete = table[(table["state"] == "complete") & table["training_flops"].notna()]
    complete = complete.rename(columns={"number": "trial", "value": "val_accuracy"})
    ordered = complete.sort_values(
        ["training_flops", "val_accuracy", "val_loss", "trial"], ascending=[True, False, True, True]
    )
    best = ordered["val_accuracy"].cummax().shift(fill_value=-1.0)
    return ordered.loc[ordered["val_accuracy"] > best, list(PARETO)].reset_index(drop=True)


def _row(trial: FrozenTrial, start: datetime | None) -> dict[str, Any]:
    """Return a trial's row. Parameters whose name says at which depth they are are named like the others."""
    params = {name.partition("_at_")[0]: value for name, value in trial.params.items()}
    changes = trial.user_attrs.get("changes", {})
    return {
        **changes,
        **params,
        **{name: value for name, value in trial.user_attrs.items() if name != "changes"},
        "number": trial.number,
        "state": STATES[trial.state],
        "value": trial.values[0] if trial.values else None,
        "started": _since(start, trial.datetime_start),
        "finished": _since(start, trial.datetime_complete),
        "worker": _worker(trial.user_attrs.get(PROCESS)),
    }


def _since(start: datetime | None, moment: datetime | None) -> float | None:
    return (moment - start).total_seconds() if start and moment else None


def _worker(process: str | None) -> str | None:
    """Return host and process number, without when it started."""
    return process and process.rpartition(" ")[0]
