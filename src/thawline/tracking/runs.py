"""Runs: opened by one context manager, written to in few requests, always ended."""

import json
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thawline.tracking.connection import connected
from thawline.tracking.origin import is_dead, origin, this_process
from thawline.tracking.text import flatten, shown

if TYPE_CHECKING:
    import mlflow.entities
    from mlflow import MlflowClient

REQUIRED_TAGS = ("seed", "data_fingerprint")
"""Tags without which a run could not be traced back to what it was made from."""

STATES = {"complete": "FINISHED", "pruned": "KILLED", "interrupted": "KILLED", "failed": "FAILED"}
"""How a run ended (its tag `state`), and the MLflow status shown for it."""

PROCESS_TAG, STUDY_TAG = "process", "study"


def reconcile() -> list[str]:
    """End the runs that processes of this machine left RUNNING when they were killed; return the ids.

    Runs of living processes and of other machines are left alone.
    """
    open_ = connected()
    running = _all_runs(open_.client, open_.experiment_id, "attributes.status = 'RUNNING'")
    dead = [run for run in running if is_dead(run.data.tags.get(PROCESS_TAG, ""))]
    for run in dead:
        Run(open_.client, run.info.run_id).end("interrupted", "its process was killed")
    return [run.info.run_id for run in dead]


def supersede(id: str, state: str, reason: str) -> None:
    """End the run `id` as one of `STATES`, whatever became of it before: its trial came to something else.

    A run that no longer exists is left at that.
    """
    from mlflow.exceptions import MlflowException

    with suppress(MlflowException):
        Run(connected().client, id).end(state, reason)


def supersede_all_but(kept: Collection[str], study: str) -> list[str]:
    """End as interrupted every run of the study's trials that is not in `kept` (run ids): attempts of
    workers that died before the study knew of their run. Return the ids of those that said otherwise."""
    open_ = connected()
    found = _all_runs(open_.client, open_.experiment_id, f"tags.{STUDY_TAG} = {_quoted(study)}")
    strays = [run for run in found if run.info.run_id not in kept]
    strays = [run for run in strays if run.data.tags.get("state") != "interrupted"]
    for run in strays:
        supersede(run.info.run_id, "interrupted", "its worker died")
    return [run.info.run_id for run in strays]


@contextmanager
def run(
    name: str,
    *,
    stage: str,
    parameters: Mapping[str, Any],
    tags: Mapping[str, Any],
    parent: str | None = None,
    lock: str | None = None,
    study: str | None = None,
    again: str | None = None,
) -> Iterator["Run"]:
    """Open one MLflow run for the length of the block.

    `parameters` may be nested and is stored flat (`finetune.head_lr`); `tags` must hold
    `REQUIRED_TAGS`; `parent` is the id of the run this one is shown under; `lock` is the composed
    configuration, kept as the artifact params.yaml; `study` is the name of the study whose trial this is;
    `again` is the id of a run that this one goes on with, where it still exists: its parameters stay. The
    run ends `complete`, `failed` (with the error's first line as the tag `reason`) or `interrupted`, unless
    the block ended it itself.
    """
    if absent := [tag for tag in REQUIRED_TAGS if tag not in tags]:
        raise ValueError(f"run {name!r} lacks the tags {', '.join(absent)}")
    all_tags = {"stage": stage, **tags, **({STUDY_TAG: study} if study else {})}
    opened = _reopened(again) or _start(name, all_tags, parameters, parent)
    try:
        if lock is not None:
            opened.log_text("params.yaml", lock)
        yield opened
    except BaseException as error:
        _end_after(opened, error)
        raise
    opened.end("complete")


class Run:
    """An open MLflow run. Every method is one request or two."""

    def __init__(self, client: "MlflowClient", id: str) -> None:
        self.id = id
        self._client = client
        self._ended = False

    def log_history(self, rows: Iterable[Mapping[str, Any]], step: str = "epoch") -> None:
        """Log one metric per column and row, at the row's `step`; skip empty cells, and the seed, which
        identifies the run."""
        points = [(int(row[step]), {k: v for k, v in row.items() if k not in (step, "seed")}) for row in rows]
        self._log_points(points)

    def log_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Log one value of each metric."""
        self._log_points([(0, metrics)])

    def log_tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags of the run."""
        from mlflow.entities import RunTag

        self._client.log_batch(self.id, tags=[RunTag(name, shown(value)) for name, value in tags.items()])

    def log_text(self, name: str, text: str) -> None:
        """Keep `text` as the artifact `name` (a file name with its ending)."""
        self._client.log_text(self.id, text, name)

    def log_dict(self, name: str, value: Mapping[str, Any]) -> None:
        """Keep `value` as the JSON artifact `name`."""
        self.log_text(name, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Keep a copy of the file or folder at `path`, below `folder` in the run's artifacts."""
        log = self._client.log_artifacts if path.is_dir() else self._client.log_artifact
        log(self.id, str(path), folder)

    def end(self, state: str, reason: str = "") -> None:
        """End the run as one of `STATES`. The first end counts; later ones change nothing."""
        if self._ended:
            return
        self.log_tags({"state": state} | ({"reason": reason} if reason else {}))
        self._client.set_terminated(self.id, STATES[state])
        self._ended = True

    def _log_points(self, points: Iterable[tuple[int, Mapping[str, Any]]]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._client.log_batch(
            self.id,
            metrics=[
                Metric(name, float(value), now, step)
                for step, row in points
                for name, value in row.items()
                if value is not None
            ],
        )


def _start(name: str, tags: Mapping[str, Any], parameters: Mapping[str, Any], parent: str | None) -> Run:
    """Create a run of this process with its tags and parameters."""
    from mlflow.entities import Param

    open_ = connected()
    all_tags = {
        **tags,
        **origin(open_.root),
        PROCESS_TAG: this_process(),
        **({"mlflow.parentRunId": parent} if parent else {}),
    }
    created = open_.client.create_run(
        open_.experiment_id, run_name=name, tags={key: shown(value) for key, value in all_tags.items()}
    )
    open_.client.log_batch(
        created.info.run_id, params=[Param(key, value) for key, value in flatten(parameters).items()]
    )
    return Run(open_.client, created.info.run_id)


def _reopened(id: str | None) -> Run | None:
    """Return the run `id`, running again and by this process; None where no such run can be gone on with."""
    from mlflow.exceptions import MlflowException

    open_ = connected()
    if id is None:
        return None
    try:
        found = open_.client.get_run(id)
    except MlflowException:
        return None
    if found.info.lifecycle_stage != "active":
        return None
    for tag in ("state", "reason"):
        if tag in found.data.tags:
            open_.client.delete_tag(id, tag)
    open_.client.set_tag(id, PROCESS_TAG, this_process())
    open_.client.update_run(id, status="RUNNING")
    return Run(open_.client, id)


def _all_runs(client: "MlflowClient", experiment_id: str, which: str) -> list["mlflow.entities.Run"]:
    """Find all runs that match; MLflow answers a page at a time."""
    found = client.search_runs([experiment_id], which)
    runs = list(found)
    while found.token:
        found = client.search_runs([experiment_id], which, page_token=found.token)
        runs += found
    return runs


def _quoted(text: str) -> str:
    """Quote `text` for MLflow's filters: they know no way to write a quote between quotes of its kind."""
    quote = "'" if '"' in text else '"'
    return f"{quote}{text}{quote}"


def _end_after(opened: Run, error: BaseException) -> None:
    """End a run whose block raised; never hide the block's error behind one of MLflow."""
    first_line = (str(error).splitlines() or [""])[0]
    reason = f"{type(error).__name__}: {first_line}".removesuffix(": ")
    try:
        opened.end("failed" if isinstance(error, Exception) else "interrupted", reason)
    except Exception as second:
        error.add_note(f"MLflow could not be told either: {second}")
