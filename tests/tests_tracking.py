"""A run to look at, and processes that record."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from urllib.error import URLError
from urllib.request import urlopen

from thawline import tracking
from thawline.tracking.connection import connected

TAGS = {"seed": 0, "data_fingerprint": "1f2e"}


def a_run(name="a", **changes):
    return tracking.run(name, **{"stage": "finetune", "parameters": {}, "tags": TAGS} | changes)


def recorded():
    """All runs of the experiment that this process is connected to."""
    connection = connected()
    return connection.client.search_runs([connection.experiment_id])


def in_process(code, root, *more, **options):
    command = [sys.executable, "-W", "error", "-c", code, str(root), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


CONNECT = """
import sys
from pathlib import Path
from thawline import tracking
print(tracking.connect("sqlite:///mlflow.db", "together", Path(sys.argv[1])), flush=True)
"""


def forget_stores():
    """Let MLflow look at databases anew, as another process does."""
    from mlflow.tracking._tracking_service.registry import TrackingStoreRegistry

    TrackingStoreRegistry._get_store_with_resolved_uri.cache_clear()
    forget_connections()


def forget_connections():
    """Close MLflow's connections to databases."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    for engine in SqlAlchemyStore._engine_map.values():
        engine.dispose()


SECONDS = 90
"""A busy machine with two cores needs a third of this to start the server."""


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def server(root, port=None):
    """The address of `mlflow server` over `root`'s store; its whole process group ends with it."""
    port = port or free_port()
    store = ["--backend-store-uri", f"sqlite:///{root / 'mlflow.db'}"]
    place = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    place += ["--artifacts-destination", str(root / "served")]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    log = root / "server.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *store, *place],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | quiet,
            start_new_session=True,
        )
    try:
        address = f"http://127.0.0.1:{port}"
        end = time.monotonic() + SECONDS
        while not answers(f"{address}/health"):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.25)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def answers(address):
    try:
        with urlopen(address, timeout=2) as answer:
            return answer.status == 200
    except (URLError, OSError):
        return False
