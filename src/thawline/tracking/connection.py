"""The connection to the MLflow store: made once, quickly refused, and explained when refused."""

import logging
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from filelock import Timeout

from thawline.config.errors import UserError, first_line
from thawline.machine import loading
from thawline.tracking import view
from thawline.tracking.database import is_server, make_new_file, opened_alone
from thawline.tracking.place import FOLDER, location, settle
from thawline.tracking.text import shown, without_password
from thawline.tracking.unsent import Unsent, is_refusal

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

log = logging.getLogger(__name__)

T = TypeVar("T")

CONNECT_SECONDS = 5
DEFAULT_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}


@dataclass
class Connection:
    """`client` is None once the store did not answer. `home` is the checkout below which artifacts lie; None
    where a server decides."""

    client: "MlflowClient | None"
    experiment_id: str
    root: Path
    store: str
    home: Path | None
    unsent: Unsent
    moved_from: Path | None = None


class LostError(Exception):
    """The store does not answer, in this process, any more."""


_connection: Connection | None = None


def connect(uri: str, experiment: str, root: Path) -> str:
    """Open the store at `uri`, make it and the experiment where they do not exist yet, and use them
    for every later call in this process; return the experiment's id.

    A relative sqlite path, and the artifacts of a store that is a database, lie below `root`. Below
    `$DVC_ROOT` where that is set: in a temporary experiment `root` is a copy that is thrown away.
    What an earlier stage could not tell a store that was lost is sent. A server that was reached from here
    before and is not there now ends nothing: what it would be told is kept.

    Raises `UserError` when the store cannot be reached (within seconds) or used.
    """
    global _connection
    set_environment()
    home = Path(os.environ.get("DVC_ROOT") or root).resolve()
    store = resolve_uri(uri, home)
    unsent = _unsent(uri, experiment, home)
    place = None if is_server(store) else home
    opened = Connection(None, "", root, store, place, unsent)
    try:
        with _explained(store), opened_alone(store, home), _impatient():
            _open(opened, experiment)
    except UserError as error:
        known = unsent.reached()
        if known is None or error.__cause__ is None or is_refusal(error.__cause__):
            raise
        opened.client, opened.experiment_id = None, known
        log.warning("%s\n  %s", error, _kept_in(unsent))
    _connection = opened
    return opened.experiment_id


def look(uri: str, root: Path, action: Callable[["MlflowClient"], T]) -> T:
    """Return what `action` finds in the store at `uri` (a relative path is taken from `root`), where nothing
    is to be recorded. Raises `UserError` when the store cannot be reached (within seconds) or used."""
    set_environment()
    store = resolve_uri(uri, root)
    with _explained(store), opened_alone(store, root), _impatient():
        _check_host_answers(store)
        return action(_client(store))


def send_what_waits(uri: str, experiment: str, root: Path) -> None:
    """Try once more to tell the store what it could not be told, where there is anything: perhaps no
    stage that records comes after this one. That it still cannot be reached is logged."""
    home = Path(os.environ.get("DVC_ROOT") or root).resolve()
    if _unsent(uri, experiment, home).waiting():
        with suppress(UserError):
            connect(uri, experiment, root)


def _unsent(uri: str, experiment: str, home: Path) -> Unsent:
    return Unsent(home / "scratch" / "unsent", without_password(uri), experiment)


def set_environment() -> None:
    """Let MLflow, in this process and in those it starts, be quiet and give up soon; what is set stays."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    # MLflow would wait for four minutes, which nobody has to: what it is not told is kept
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")


def _open(opened: Connection, name: str) -> None:
    """Reach the store, find or make the experiment, put its artifacts in their place and send what waits."""
    _check_host_answers(opened.store)
    client = _client(opened.store)
    experiment = _experiment(client, name, opened.home)
    if opened.home is not None:
        opened.moved_from = settle(opened.store, experiment, opened.home)
        if opened.moved_from is not None:
            log.warning(
                "MLflow's database was made elsewhere: artifacts go to %s, no longer to %s",
                opened.home / FOLDER, opened.moved_from,
            )  # fmt: skip
    opened.client, opened.experiment_id = client, experiment.experiment_id
    if sent := opened.unsent.send(client, opened.experiment_id):
        log.info("MLflow was told of what had to wait: %d", sent)
    if urlsplit(opened.store).hostname:
        opened.unsent.remember(opened.experiment_id)


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


def ask(action: Callable[["MlflowClient"], T]) -> T:
    """Return what `action` gives. Raises `LostError` where the store does not answer, and from then on."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    open_, outer = connected(), sys.exception()
    if open_.client is None:
        raise LostError
    try:
        return action(open_.client)
    except (MlflowException, SQLAlchemyError, OSError) as error:
        if is_refusal(error):
            raise
        open_.client = None
        log.warning("MLflow is lost: %s\n  %s", _reason(error, open_.store, outer), _kept_in(open_.unsent))
        raise LostError from error


def _kept_in(unsent: Unsent) -> str:
    return f"What it is not told is kept in {unsent.folder}, and sent when a later stage reaches it."


def _client(store: str) -> "MlflowClient":
    from mlflow import MlflowClient

    logging.getLogger("alembic").setLevel(logging.WARNING)
    # these print what they raise as well: Ctrl-C, too, while a connection is given back
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    make_new_file(store)
    return MlflowClient(store)


def _experiment(client: "MlflowClient", name: str, home: Path | None) -> "Experiment":
    """Find the experiment, or make it with artifacts below `home` (None: the server decides)."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        # MLflow would take a path relative to wherever the process happens to stand
        try:
            client.create_experiment(name, location(home) if home else None, view.experiment_tags())
        except MlflowException:
            if client.get_experiment_by_name(name) is None:
                raise
        found = client.get_experiment_by_name(name)
        assert found is not None
    if found.lifecycle_stage != "active":
        raise UserError(
            f"The experiment {name!r} was deleted in MLflow.\n"
            f"  Restore it (mlflow experiments restore -x {found.experiment_id}) "
            f"or choose another name: tracking.experiment=..."
        )
    return found


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
    if parts.hostname and port and not is_server(store):
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
        advice = "Start the server" if _system_error(error) and urlsplit(store).hostname else "Put that right"
        raise UserError(
            f"MLflow cannot use the store {without_password(store)}\n"
            f"  reason: {_reason(error, store)}\n"
            f"  {advice}, or record elsewhere: tracking.uri=sqlite:///mlflow.db"
        ) from error


def _reason(error: BaseException, store: str, outer: BaseException | None = None) -> str:
    reason = first_line(_system_error(error, outer) or error)
    return shown(reason.replace(store, without_password(store)))


def _system_error(error: BaseException, outer: BaseException | None = None) -> OSError | None:
    """Find the operating system's own error that `error` was raised because of, if there is one: it says in
    five words what the libraries above it wrap in five lines. What was being handled before, `outer`, is
    another matter: MLflow is told of errors as well."""
    found: BaseException | None = error
    while found is not None and found is not outer:
        if isinstance(found, OSError) and found.errno:
            return found
        found = found.__cause__ or found.__context__
    return None
