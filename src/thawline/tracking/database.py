"""The database of runs: made whole and by one process, for MLflow can do neither."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from urllib.parse import urlsplit

from filelock import FileLock

LOCK_SECONDS = 120


def is_server(store: str) -> bool:
    """Tell whether the store is MLflow's own server, which has a database of its own."""
    return urlsplit(store).scheme in ("http", "https", "databricks")


@contextmanager
def opened_alone(store: str, home: Path) -> Iterator[None]:
    """Let one process at a time open a database: MLflow crashes where two create its tables."""
    path = store.removeprefix("sqlite:///")
    beside = Path(path) if path != store and path != ":memory:" else home / "mlflow.db"
    if not is_server(store):
        beside.parent.mkdir(parents=True, exist_ok=True)
    with nullcontext() if is_server(store) else FileLock(f"{beside}.lock", timeout=LOCK_SECONDS):
        yield


def make_new_file(store: str) -> None:
    """Make the file of a sqlite database that is not there yet, under another name until it is whole: MLflow
    needs seconds for its tables, and refuses for good a file in which it was killed meanwhile."""
    from mlflow import MlflowClient
    from sqlalchemy import make_url

    url = make_url(store) if store.startswith("sqlite:") else None
    if url is None or url.database in (None, "", ":memory:") or Path(str(url.database)).exists():
        return
    partial = f"{url.database}.partial"
    for left in (partial, f"{partial}-journal"):
        Path(left).unlink(missing_ok=True)
    MlflowClient(url.set(database=partial).render_as_string(hide_password=False))
    Path(partial).replace(str(url.database))
