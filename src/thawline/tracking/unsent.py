"""What MLflow could not be told: kept on disk, and sent when it can be reached again, each run once.

A story is what a run has to tell. Its key is a tag of the run, so that one whose making was done but not
answered is found and not made again. Everything in a story may be told twice: MLflow keeps values by their
time and step, and artifacts by their names.
"""

import hashlib
import json
import logging
import os
import shutil
import socket
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from thawline.tracking.origin import is_dead, this_process

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, RunInfo

log = logging.getLogger(__name__)

KEY = "run_key"
"""Tag of every run: what it is called before MLflow has given it an id."""
PARENT = "mlflow.parentRunId"
_MARK = "run-"

# but not RESOURCE_DOES_NOT_EXIST: where a run that was made is gone, the database is
_ANSWERS = ("INVALID_PARAMETER_VALUE", "INVALID_STATE", "RESOURCE_ALREADY_EXISTS")

Event = dict[str, Any]


def now() -> int:
    """Return the time as MLflow counts it, in milliseconds."""
    return int(time.time() * 1000)


def is_key(id: str) -> bool:
    """Tell if `id` is a run's key, which it has in place of an id while MLflow does not know of it."""
    return id.startswith(_MARK)


def key_of(computation: str, folder: Path) -> str:
    """Return the key of the one run of `computation` in the checkout whose stories are kept in `folder`."""
    return (
        _MARK + hashlib.sha256(f"{socket.gethostname()}\n{folder}\n{computation}".encode()).hexdigest()[:32]
    )


@dataclass
class Story:
    """What one run has to tell. `id` is that of a run that exists, or the key of one that is sent before;
    None: there may be none. Where there is none, it is made of `name`, `tags` and `parameters`."""

    name: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    id: str | None = None
    key: str = field(default_factory=lambda: f"{_MARK}{uuid.uuid4().hex}")
    process: str = field(default_factory=this_process)
    started: int = field(default_factory=now)
    events: list[Event] = field(default_factory=list)

    @property
    def ended(self) -> bool:
        """Tell whether nothing more will come."""
        return any(event["kind"] == "end" for event in self.events)


def is_refusal(error: BaseException) -> bool:
    """Tell if `error` is an answer of MLflow, and not the want of one: to ask again would change nothing."""
    return getattr(error, "error_code", None) in _ANSWERS


def tell(client: "MlflowClient", id: str, event: Event) -> None:
    """Tell MLflow one thing about the run `id`, in one request or two."""
    from mlflow.entities import Metric, Param, RunTag

    kind = event["kind"]
    if kind == "metrics":
        client.log_batch(id, metrics=[Metric(*point) for point in event["points"]])
    elif kind == "tags":
        client.log_batch(id, tags=[RunTag(*pair) for pair in event["tags"].items()])
    elif kind == "parameters":
        client.log_batch(id, params=[Param(*pair) for pair in event["parameters"].items()])
    elif kind == "data":
        client.log_inputs(id, [_input(each) for each in event["sets"]])
    elif kind == "text":
        client.log_text(id, event["text"], event["name"])
    elif kind == "artifact":
        path = Path(event["path"])
        (client.log_artifacts if path.is_dir() else client.log_artifact)(id, str(path), event["folder"])
    elif kind == "end":
        client.log_batch(id, tags=[RunTag(*pair) for pair in event["tags"].items()])
        client.set_terminated(id, event["status"], event["time"])
    else:
        raise ValueError(f"there is no event {kind!r}")


def _input(data: dict[str, Any]) -> "DatasetInput":
    """Return MLflow's word for pictures that a run is made from: its page shows name, digest and context."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    name, counts = data["name"], json.dumps(data["counts"])
    # MLflow keeps 36 characters of a digest
    found = Dataset(name, data["fingerprint"][:32], "thawline", json.dumps({"dataset": name}), profile=counts)
    return DatasetInput(found, [InputTag("mlflow.data.context", data["role"])])


class Unsent:
    """The stories of one experiment in one store that are still to be sent, as files in `folder`."""

    def __init__(self, folder: Path, store: str, experiment: str) -> None:
        of = hashlib.sha256(f"{store}\n{experiment}".encode()).hexdigest()[:8]
        self.folder, self._of = folder, of

    @property
    def _reached(self) -> Path:
        return self.folder / f"{self._of}.reached"

    def reached(self) -> str | None:
        """Return the experiment's id when the store was last reached from here; None where it never was."""
        return self._reached.read_text() if self._reached.exists() else None

    def remember(self, experiment_id: str) -> None:
        """Remember that the store was reached."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write(self._reached, experiment_id)

    def keep(self, story: Story, event: Event | None = None) -> None:
        """Keep `story` on disk, with `event` added; a file that it names is copied."""
        path = self._path(story.key)
        if event is not None:
            if event["kind"] == "artifact":
                event = event | {"path": str(self._copied(path.with_suffix(""), Path(event["path"]), story))}
            story.events.append(event)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._write(path, json.dumps(asdict(story)))

    def waiting(self) -> bool:
        """Tell whether there is anything to send."""
        return any(self._stories())

    def send(self, client: "MlflowClient", experiment_id: str) -> int:
        """Send every story that nobody is still telling, and forget it; return how many there were. What
        fails on the way is raised, and what is not sent then stays. A process that sends already is left to
        it."""
        if not self.waiting():
            return 0
        try:
            with FileLock(self.folder / f"{self._of}.lock", timeout=0):
                waiting = sorted(self._stories(), key=lambda story: story.started)
                over = [story for story in waiting if story.ended or is_dead(story.process)]
                for story in over:
                    self._send(client, experiment_id, story)
                return len(over)
        except Timeout:
            return 0

    def _send(self, client: "MlflowClient", experiment_id: str, story: Story) -> None:
        from mlflow.exceptions import MlflowException

        path = self._path(story.key)
        try:
            _send(client, experiment_id, story)
        except MlflowException as error:
            if not is_refusal(error):
                raise
            # it would be refused for ever, and everything behind it would wait
            aside = path.replace(path.with_suffix(".refused"))
            log.warning(
                "MLflow refuses what run %s has to tell (%s): it stays in %s", story.name, error, aside
            )
        else:
            path.unlink()
            shutil.rmtree(path.with_suffix(""), ignore_errors=True)

    def _stories(self) -> Iterator[Story]:
        for path in self.folder.glob(f"{self._of}-{_MARK}*.json"):
            yield Story(**json.loads(path.read_text(encoding="utf-8")))

    def _path(self, key: str) -> Path:
        return self.folder / f"{self._of}-{key}.json"

    @staticmethod
    def _copied(folder: Path, path: Path, story: Story) -> Path:
        copy = folder / str(len(story.events)) / path.name
        if path.is_dir():
            shutil.copytree(path, copy, dirs_exist_ok=True)  # of the same run, begun before
        else:
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        return copy

    @staticmethod
    def _write(path: Path, text: str) -> None:
        temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)


def existing(client: "MlflowClient", experiment_id: str, id: str) -> str | None:
    """Return the id of the run that `id` or a key names; None where there is none (yet)."""
    from mlflow.exceptions import MlflowException

    if is_key(id):
        found = client.search_runs([experiment_id], f"tags.{KEY} = '{id}'")
        return found[0].info.run_id if found else None
    try:
        return str(client.get_run(id).info.run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def create(client: "MlflowClient", experiment_id: str, story: Story) -> "RunInfo":
    """Make the run of `story`, with its tags and its key; return what MLflow says of it."""
    return client.create_run(experiment_id, story.started, {**story.tags, KEY: story.key}, story.name).info


def _send(client: "MlflowClient", experiment_id: str, story: Story) -> None:
    id = existing(client, experiment_id, story.id or story.key)
    id = id or existing(client, experiment_id, story.key)
    if id is None:
        if not story.name:
            return  # a later word on a run that nobody has
        parent = story.tags.get(PARENT, "")
        if is_key(parent):
            # it may have been sent before this one, and have an id by now
            story.tags[PARENT] = existing(client, experiment_id, parent) or parent
        id = create(client, experiment_id, story).run_id
        tell(client, id, {"kind": "parameters", "parameters": story.parameters})
    # what was made while this one had no id
    for child in client.search_runs([experiment_id], f"tags.{PARENT} = '{story.key}'"):
        client.set_tag(child.info.run_id, PARENT, id)
    for event in story.events:
        tell(client, id, event)
    if not story.ended:
        tags = {"state": "interrupted", "reason": "its process was killed"}
        tell(client, id, {"kind": "end", "tags": tags, "status": "KILLED", "time": now()})
