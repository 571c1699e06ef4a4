"""optuna-dashboard over a database of studies that our search wrote."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
import tests_tasks
from tests_tasks import random_search

from thawline.artifacts import Artifacts
from thawline.config.sections import Config
from thawline.search.study.run import run_study

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SECONDS = 90


@contextmanager
def dashboard(database: Path) -> Iterator[str]:
    """The address of an optuna-dashboard over `database`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("optuna-dashboard")), f"sqlite:///{database}"]
    process = subprocess.Popen([*command, "--port", str(port), "--server", "wsgiref", "--quiet"])
    address = f"http://127.0.0.1:{port}"
    try:
        _await(address, process)
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=SECONDS)


def _await(address: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urlopen(f"{address}/api/meta", timeout=5).close()
            return
        except URLError:
            time.sleep(0.2)
    raise AssertionError(f"optuna-dashboard does not answer; it ended with {process.poll()}")


def read(address: str) -> str:
    with urlopen(address, timeout=30) as answer:
        return answer.read().decode()


def test_the_dashboard_shows_our_studies(tmp_path: Path) -> None:
    artifacts = Artifacts.under(tmp_path)
    study = run_study(tests_tasks.bowl, Config(search=random_search(5)), artifacts, "", "search")
    with dashboard(artifacts.studies) as address:
        (summary,) = json.loads(read(f"{address}/api/studies"))["study_summaries"]
        assert summary["study_name"] == "bowl"
        assert summary["directions"] == ["maximize"]
        detail = json.loads(read(f"{address}/api/studies/{summary['study_id']}?after=0"))
        page = read(f"{address}/dashboard/")
    assert [trial["state"] for trial in detail["trials"]] == ["Complete"] * 5
    assert [trial["values"] for trial in detail["trials"]] == [[trial.value] for trial in study.trials]
    assert {each["name"] for each in detail["union_search_space"]} == {"x", "y"}
    assert "Optuna Dashboard" in page
