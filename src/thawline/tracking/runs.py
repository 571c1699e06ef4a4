"""Runs: opened by one context manager, written to in few requests, always ended."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thawline.config.errors import first_line
from thawline.tracking.connection import LostError, ask, connected
from thawline.tracking.origin import is_dead, origin, this_process
from thawline.tracking.place import settle_run
from thawline.tracking.text import flatten, shown
from thawline.tracking.unsent import KEY, PARENT, Story, create, existing, key_of, now, tell

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
    running = _all_runs("attributes.status = 'RUNNING'")
    dead = [run for run in running if is_dead(run.data.tags.get(PROCESS_TAG, ""))]
    for run in dead:
        Run(Story(id=run.info.run_id)).end("interrupted", "its process was killed")
    return [run.info.run_id for run in dead]


def supersede(id: str, state: str, reason: str) -> None:
    """End the run `id` as one of `STATES`, whatever became of it before: its trial came to something else.

    A run that no longer exists is left at that.
    """
    from mlflow.exceptions import MlflowException

    try:
        found = ask(lambda client: existing(client, connected().experiment_id, id))
    except LostError:
        found = id
    if found is not None:
        with suppress(MlflowException):
            Run(Story(id=found)).end(state, reason)


def supersede_all_but(kept: Collection[str], study: str) -> list[str]:
    """End as interrupted every run of the study's trials that is not in `kept` (run ids): attempts of
    workers that died before the study knew of their run. Return the ids of those that said otherwise."""
    found = _all_runs(f"tags.{STUDY_TAG} = {_quoted(study)}")
    strays = [run for run in found if not {run.info.run_id, run.data.tags.get(KEY)} & {*kept}]
    strays = [run for run in strays if run.data.tags.get("state") != "interrupted"]
    for run in strays:
        supersede(run.info.run_id, "interrupted", "its worker died")
    return [run.info.run_id for run in strays]


@dataclass(frozen=True)
class Data:
    """Pictures a run is made from: the data set's name, what they are to the run (`training`, `validation`),
    what tells them from others, and numbers: of pictures, of classes."""

    name: str
    role: str
    fingerprint: str
    counts: dict[str, int]


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
    once: str | None = None,
    data: Sequence[Data] = (),
) -> Iterator["Run"]:
    """Open one MLflow run for the length of the block.

    `parameters` may be nested and is stored flat (`finetune.head_lr`); `tags` must hold `REQUIRED_TAGS`;
    `parent` is the id of the run this one is shown under; `lock` is the composed configuration, kept as the
    artifact params.yaml; `study` is the name of the study whose trial this is; `again` is the id of a run
    that this one goes on with, where it still exists: its parameters stay; `once` names what is computed, so
    that the run which this checkout has of the same is gone on with: a stage that is killed after its run
    ended, and before DVC knows what it made, comes again. The caller sees to it that no two processes compute
    the same; `data` are the pictures it is made from. The run ends `complete`, `failed` (with the error's
    first line as the tag `reason`) or `interrupted`, unless the block ended it itself.
    """
    if absent := [tag for tag in REQUIRED_TAGS if tag not in tags]:
        raise ValueError(f"run {name!r} lacks the tags {', '.join(absent)}")
    all_tags = {"stage": stage, **tags, **({STUDY_TAG: study} if study else {})}
    story = _story(name, all_tags, parameters, parent)
    if once is not None:
        again = story.key = key_of(once, connected().unsent.folder)
    opened = _opened(story, again)
    try:
        if lock is not None:
            opened.log_text("params.yaml", lock)
        if data:
            opened.log_data(data)
        yield opened
    except BaseException as error:
        _end_after(opened, error)
        raise
    opened.end("complete")


class Run:
    """An open MLflow run. Every method is one request or two; where the store is lost, all is kept."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self._kept = False
        self._ended = False

    @property
    def id(self) -> str:
        """The run's id in MLflow; its key, where MLflow does not know of it yet."""
        return self._story.id or self._story.key

    def log_history(self, rows: Iterable[Mapping[str, Any]], step: str = "epoch") -> None:
        """Log one metric per column and row, at the row's `step`; skip empty cells, and the seed, which
        identifies the run. All at the time at which the run began: told again, it is not there twice."""
        points = [(int(row[step]), {k: v for k, v in row.items() if k not in (step, "seed")}) for row in rows]
        self._log_points(points, self._story.started)

    def log_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Log one value of each metric."""
        self._log_points([(0, metrics)], now())

    def log_tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags of the run."""
        self._tell("tags", tags={name: shown(value) for name, value in tags.items()})

    def log_data(self, data: Sequence[Data]) -> None:
        """Name the pictures that the run is made from."""
        self._tell("data", sets=[asdict(each) for each in data])

    def log_text(self, name: str, text: str) -> None:
        """Keep `text` as the artifact `name` (a file name with its ending)."""
        self._tell("text", name=name, text=text)

    def log_dict(self, name: str, value: Mapping[str, Any]) -> None:
        """Keep `value` as the JSON artifact `name`."""
        self.log_text(name, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Keep a copy of the file or folder at `path`, below `folder` in the run's artifacts."""
        self._tell("artifact", path=str(path), folder=folder)

    def end(self, state: str, reason: str = "") -> None:
        """End the run as one of `STATES`. The first end counts; later ones change nothing."""
        if self._ended:
            return
        tags = {"state": state} | ({"reason": shown(reason)} if reason else {})
        self._tell("end", tags=tags, status=STATES[state], time=now())
        self._ended = True

    def _log_points(self, points: Iterable[tuple[int, Mapping[str, Any]]], at: int) -> None:
        self._tell(
            "metrics",
            points=[
                (name, float(value), at, step)
                for step, row in points
                for name, value in row.items()
                if value is not None
            ],
        )

    def _tell(self, kind: str, **what: Any) -> None:
        """Tell MLflow; where it does not answer, keep this and all that follows on disk, in its order."""
        event = {"kind": kind, **what}
        if not self._kept:
            try:
                ask(lambda client: tell(client, self.id, event))
                return
            except LostError:
                self._kept = True
        connected().unsent.keep(self._story, event)

    def begin(self) -> None:
        """Make the run in MLflow; where it does not answer, keep what it is to be made of."""
        open_, story = connected(), self._story
        try:
            made = ask(lambda client: create(client, open_.experiment_id, story))
            story.id = made.run_id
            if open_.home is not None:
                home = open_.home
                ask(lambda _: settle_run(open_.store, made, home))
        except LostError:
            self._kept = True
            open_.unsent.keep(story)
        self._tell("parameters", parameters=story.parameters)


def _story(name: str, tags: Mapping[str, Any], parameters: Mapping[str, Any], parent: str | None) -> Story:
    """Return what a new run of this process has to tell."""
    open_ = connected()
    all_tags = {
        **tags,
        **origin(open_.root),
        PROCESS_TAG: this_process(),
        **({PARENT: parent} if parent else {}),
        **({"artifacts_moved_from": open_.moved_from} if open_.moved_from else {}),
    }
    return Story(name, {key: shown(value) for key, value in all_tags.items()}, flatten(parameters))


def _opened(story: Story, again: str | None) -> Run:
    """Return the run `again`, running anew and by this process, where there is such a run to go on with; else
    a new one."""
    run = Run(story)
    if again:
        try:
            story.id = ask(lambda client: _reopened(client, again, story))
        except LostError:
            story.id = again
        if story.id is not None:
            return run
    run.begin()
    return run


def _reopened(client: "MlflowClient", id: str, story: Story) -> str | None:
    found_id = existing(client, connected().experiment_id, id)
    if found_id is None:
        return None
    found = client.get_run(found_id)
    if found.info.lifecycle_stage != "active":
        return None
    for tag in ("state", "reason"):
        if tag in found.data.tags:
            client.delete_tag(found_id, tag)
    tell(client, found_id, {"kind": "tags", "tags": story.tags})
    client.update_run(found_id, status="RUNNING")
    story.started = found.info.start_time
    return found_id


def _all_runs(which: str) -> list["mlflow.entities.Run"]:
    """Find all runs that match; MLflow answers a page at a time. None where the store is lost."""
    place = [connected().experiment_id]
    try:
        return ask(lambda client: _pages(client, place, which))
    except LostError:
        return []


def _pages(client: "MlflowClient", place: list[str], which: str) -> list["mlflow.entities.Run"]:
    found = client.search_runs(place, which)
    runs = list(found)
    while found.token:
        found = client.search_runs(place, which, page_token=found.token)
        runs += found
    return runs


def _quoted(text: str) -> str:
    """Quote `text` for MLflow's filters: they know no way to write a quote between quotes of its kind."""
    quote = "'" if '"' in text else '"'
    return f"{quote}{text}{quote}"


def _end_after(opened: Run, error: BaseException) -> None:
    """End a run whose block raised; never hide the block's error behind one of MLflow."""
    kind, said = type(error).__name__, first_line(error)
    reason = kind if said == kind else f"{kind}: {said}"
    try:
        opened.end("failed" if isinstance(error, Exception) else "interrupted", reason)
    except Exception as second:
        error.add_note(f"MLflow could not be told either: {second}")
