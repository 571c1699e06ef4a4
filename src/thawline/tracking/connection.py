"""The connection to the MLflow store: made once, quickly refused, and explained when refused."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from thawline.config.errors import UserError
from thawline.machine import loading
from thawline.tracking import view
from thawline.tracking.text import shown, without_password

if TYPE_CHECKING:
    from mlflow import MlflowClient

CONNECT_SECONDS = 5
LOCK_SECONDS = 120
DEFAULT_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}


@dataclass(frozen=True)
class Connection:
    client: "MlflowClient"
    experiment_id: str
    root: Path


_connection: Connection | None = None


def connect(uri: str, experiment: str, root: Path) -> str:
    """Open the store at `uri`, make it and the experiment where they do not exist yet, and use them
    for every later call in this process; return the experiment's id.

    A relative sqlite path, and the artifacts of a store that is a database, lie below `root`. Below
    `$DVC_ROOT` where that is set: in a temporary experiment `root` is a copy that is thrown away.
    Raises `UserError` when the store cannot be reached (within seconds) or used.
    """
    global _connection
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    home = Path(os.environ.get("DVC_ROOT") or root).resolve()
    store = resolve_uri(uri, home)
    with _explained(store), _created_once(store, home), _impatient():
        _check_host_answers(store)
        client = _client(store)
        experiment_id = _experiment_id(client, experiment, None if _is_server(store) else home)
    _connection = Connection(client, experiment_id, root)
    return experiment_id


def resolve_uri(uri: str, root: Path) -> str:
    """Make a relative sqlite path absolute below `root`; leave any other uri as it is."""
    prefix = "sqlite:///"
    path = uri.removeprefix(prefix)
    if not uri.startswith(prefix) or path in ("", ":memory:") or Path(path).is_absolute():
        return uri
    return f"{prefix}{root / path}"


def connected() -> Connection:
    """Return what `connect` opened in this process."""
    if _connection is None:
        raise RuntimeError("tracking.connect(...) comes before the first run")
    return _connection


def _client(store: str) -> "MlflowClient":
    from mlflow import MlflowClient

    logging.getLogger("alembic").setLevel(logging.WARNING)
    return MlflowClient(store)


def _experiment_id(client: "MlflowClient", name: str, home: Path | None) -> str:
    """Find the experiment, or make it with artifacts below `home` (None: the server decides)."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        # MLflow would take a path relative to wherever the process happens to stand
        location = (home / "mlartifacts").as_uri() if home else None
        try:
            return client.create_experiment(name, location, view.experiment_tags())
        except MlflowException:
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        raise UserError(
            f"The experiment {name!r} was deleted in MLflow.\n"
            f"  Restore it (mlflow experiments restore -x {found.experiment_id}) "
            f"or choose another name: tracking.experiment=..."
        )
    return found.experiment_id


@contextmanager
def _created_once(store: str, home: Path) -> Iterator[None]:
    """Let one process at a time open a database: MLflow crashes where two create its tables."""
    path = store.removeprefix("sqlite:///")
    beside = Path(path) if path != store and path != ":memory:" else home / "mlflow.db"
    if not _is_server(store):
        beside.parent.mkdir(parents=True, exist_ok=True)
    with nullcontext() if _is_server(store) else FileLock(f"{beside}.lock", timeout=LOCK_SECONDS):
        yield


@contextmanager
def _impatient() -> Iterator[None]:
    """Answer within seconds whether a server is there; later requests have MLflow's usual patience."""
    hurried = {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(CONNECT_SECONDS),
    }
    before = {name: os.environ.get(name) for name in hurried}
    os.environ.update(hurried)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _check_host_answers(store: str) -> None:
    """Raise `OSError` unless the database's host accepts connections: MLflow would retry for minutes."""
    parts = urlsplit(store)
    port = parts.port or DEFAULT_PORTS.get(parts.scheme.partition("+")[0])
    if parts.hostname and port and not _is_server(store):
        socket.create_connection((parts.hostname, port), timeout=CONNECT_SECONDS).close()


@contextmanager
def _explained(store: str) -> Iterator[None]:
    """Turn every way in which a store refuses into a `UserError` that says why."""
    with loading():
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, ImportError, Timeout, OSError) as error:
        unreachable = _refusal(error)
        reason = str(unreachable or error).strip().partition("\n")[0] or type(error).__name__
        advice = "Start the server" if unreachable and urlsplit(store).hostname else "Put that right"
        raise UserError(
            f"MLflow cannot use the store {without_password(store)}\n"
            f"  reason: {shown(reason.replace(store, without_password(store)))}\n"
            f"  {advice}, or record elsewhere: tracking.uri=sqlite:///mlflow.db"
        ) from error


def _refusal(error: BaseException | None) -> OSError | None:
    """Find the operating system's own error that `error` was raised because of, if there is one: it says in
    five words what the libraries above it wrap in five lines."""
    while error is not None and not (isinstance(error, OSError) and error.errno):
        error = error.__cause__ or error.__context__
    return error


def _is_server(store: str) -> bool:
    return urlsplit(store).scheme in ("http", "https", "databricks")
