"""Where runs are recorded, and what is said where they cannot be."""

import os
import socket
import time
from pathlib import Path

import pytest
from tests_tracking import CONNECT, in_process

from thawline import tracking
from thawline.config.errors import UserError
from thawline.tracking.connection import connected, resolve_uri


@pytest.mark.slow
def test_processes_connect_to_a_new_store_at_once_and_silently(tmp_path):
    together = [in_process(CONNECT, tmp_path) for _ in range(2)]
    said = [process.communicate(timeout=120) for process in together]
    assert [process.returncode for process in together] == [0] * 2
    assert {out for out, _ in said} == {said[0][0]}
    assert {err for _, err in said} == {""}


@pytest.mark.slow
def test_a_store_whose_making_is_killed_is_made_anew(tmp_path):
    making = in_process(CONNECT, tmp_path)
    partial, end = tmp_path / "mlflow.db.partial", time.monotonic() + 120
    while not partial.exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    making.kill()
    making.communicate()
    assert not (tmp_path / "mlflow.db").exists()
    assert partial.exists()
    again = in_process(CONNECT, tmp_path)
    assert again.communicate(timeout=120)[1] == ""
    assert again.returncode == 0
    assert not partial.exists()


def test_relative_paths_lie_below_the_root_or_below_dvc_root_in_its_copies(home, tmp_path, monkeypatch):
    copy = tmp_path / "copy"
    copy.mkdir()
    monkeypatch.setenv("DVC_ROOT", str(home))
    experiment = tracking.connect("sqlite:///mlflow.db", "in a copy", copy)
    location = connected().client.get_experiment(experiment).artifact_location
    assert location == (home / "mlartifacts").as_uri()
    assert list(copy.iterdir()) == []


@pytest.mark.parametrize(
    ("uri", "resolved"),
    [
        ("sqlite:///mlflow.db", "sqlite:////root/mlflow.db"),
        ("sqlite:////elsewhere/mlflow.db", "sqlite:////elsewhere/mlflow.db"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
    ],
)
def test_only_relative_sqlite_paths_are_resolved(uri, resolved):
    assert resolve_uri(uri, Path("/root")) == resolved


@pytest.mark.parametrize("scheme", ["http", "postgresql"])
def test_an_unreachable_server_is_an_error_within_seconds_that_shows_no_password(scheme, tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    started = time.monotonic()
    with pytest.raises(UserError, match=rf"{scheme}://me:\*\*\*@127.0.0.1:{port}") as caught:
        tracking.connect(f"{scheme}://me:secret@127.0.0.1:{port}", "x", tmp_path)
    assert time.monotonic() - started < 10
    assert "secret" not in str(caught.value)
    assert str(caught.value).splitlines()[1:] == [
        "  reason: [Errno 111] Connection refused",
        "  Start the server, or record elsewhere: tracking.uri=sqlite:///mlflow.db",
    ]


@pytest.mark.parametrize(
    ("uri", "reason"),
    [("./mlruns", r"maintenance mode"), ("nonsense://x", "unsupported URI")],
)
def test_an_unsuitable_uri_is_an_error_with_mlflows_reason(uri, reason, tmp_path):
    with pytest.raises(UserError, match=rf"{uri}\n  reason: .*{reason}.*\n  Put that right, or record"):
        tracking.connect(uri, "x", tmp_path)


def test_later_requests_have_more_patience_than_the_first_or_as_much_as_one_wants(home, monkeypatch):
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES")
    for wanted in ("3", "9"):
        tracking.connect("sqlite:///mlflow.db", "patience", home)
        assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == wanted
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "9")


def test_a_file_that_is_no_database_is_an_error_that_names_it(tmp_path):
    (tmp_path / "mlflow.db").write_text("not a database, but long enough to look at" * 100)
    with pytest.raises(UserError, match=r"mlflow\.db\n  reason: .*not a database"):
        tracking.connect("sqlite:///mlflow.db", "x", tmp_path)


def test_a_deleted_experiment_is_an_error_that_says_how_to_restore_it(experiment, client, home):
    client.delete_experiment(experiment)
    with pytest.raises(UserError, match=f"mlflow experiments restore -x {experiment}"):
        tracking.connect(
            "sqlite:///mlflow.db", "test_a_deleted_experiment_is_an_error_that_says_how_to_restore_it", home
        )
