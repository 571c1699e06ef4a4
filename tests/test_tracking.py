import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from enum import Enum
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thawline import tracking
from thawline.config.errors import UserError
from thawline.config.sections import Finetune
from thawline.tracking import connection, view
from thawline.tracking.connection import connected, resolve_uri
from thawline.tracking.origin import is_dead, origin, this_process
from thawline.tracking.text import flatten
from thawline.training.recipe import tracked

TAGS = {"seed": 0, "data_fingerprint": "1f2e"}


class Colour(Enum):
    red = "red"


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory):
    """A store whose path has a space, made once because its tables take a second or two."""
    home = tmp_path_factory.mktemp("a store")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DVC_ROOT", raising=False)
        tracking.connect("sqlite:///mlflow.db", "tests", home)
        yield home


@pytest.fixture
def experiment(home, request):
    """Each test records into an experiment of its own."""
    return tracking.connect("sqlite:///mlflow.db", request.node.name, home)


@pytest.fixture
def client():
    return connected().client


def a_run(name="a", **changes):
    return tracking.run(name, **{"stage": "finetune", "parameters": {}, "tags": TAGS} | changes)


def in_process(code, root, **options):
    command = [sys.executable, "-W", "error", "-c", code, str(root)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


CONNECT = """
import sys
from pathlib import Path
from thawline import tracking
print(tracking.connect("sqlite:///mlflow.db", "together", Path(sys.argv[1])), flush=True)
"""
NEVER_ENDS = (
    CONNECT
    + """
import time
with tracking.run("endless", stage="search", parameters={}, tags={"seed": 0, "data_fingerprint": "-"}) as run:
    print(run.id, flush=True)
    time.sleep(600)
"""
)


def test_importing_the_module_imports_neither_mlflow_nor_torch():
    code = "import sys, thawline.tracking; sys.exit(bool({'mlflow', 'torch', 'sqlalchemy'} & {*sys.modules}))"
    subprocess.run([sys.executable, "-c", code], check=True)


# What a run holds


@pytest.mark.usefixtures("experiment")
def test_a_finished_run_holds_parameters_history_artifacts_and_origin(client, home):
    rows = [
        {"seed": 0, "epoch": epoch, "val_accuracy": epoch / 10, "train_loss": None} for epoch in range(30)
    ]
    parameters = {"finetune": {"head_lr": 1e-3, "depth": 4}, "model": {"architecture": "resnet18"}}

    with a_run("seed 0", parameters=parameters, lock="seed: 0\n") as run:
        run.log_history(rows)
        run.log_metrics({"test_accuracy": 0.9})
        run.log_dict("notes.json", {"ä": 1})
        run.set_tag("contender", "finetuned")

    stored = client.get_run(run.id)
    assert stored.info.status == "FINISHED"
    assert stored.info.run_name == "seed 0"
    assert stored.data.params == {
        "finetune.head_lr": "0.001",
        "finetune.depth": "4",
        "model.architecture": "resnet18",
    }
    assert stored.data.metrics == {"val_accuracy": 2.9, "test_accuracy": 0.9}
    history = client.get_metric_history(run.id, "val_accuracy")
    assert [(point.step, point.value) for point in history] == [(e, e / 10) for e in range(30)]
    expected = {"stage": "finetune", "state": "complete", "contender": "finetuned"} | {
        "seed": "0",
        "data_fingerprint": "1f2e",
    }
    assert expected.items() <= stored.data.tags.items()
    kept = home / "mlartifacts" / run.id / "artifacts"
    assert (kept / "params.yaml").read_text() == "seed: 0\n"
    assert json.loads((kept / "notes.json").read_text()) == {"ä": 1}


@pytest.mark.usefixtures("experiment")
def test_files_and_folders_become_artifacts(home, tmp_path):
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "curve.png").write_bytes(b"png")
    with a_run() as run:
        run.log_artifact(tmp_path / "figures" / "curve.png")
        run.log_artifact(tmp_path / "figures", "figures")
    kept = home / "mlartifacts" / run.id / "artifacts"
    assert (kept / "curve.png").read_bytes() == (kept / "figures" / "curve.png").read_bytes() == b"png"


@pytest.mark.usefixtures("experiment")
def test_a_history_is_written_in_one_request(client, monkeypatch):
    calls = []
    with a_run() as run:
        monkeypatch.setattr(client, "log_batch", lambda _, metrics: calls.append(metrics))
        run.log_history([{"epoch": epoch, "loss": 1.0, "accuracy": 0.5} for epoch in range(100)])
        monkeypatch.undo()
    assert [len(call) for call in calls] == [200]


@pytest.mark.usefixtures("experiment")
def test_a_history_of_thousands_of_values_is_written(client):
    with a_run() as run:
        run.log_history([{"epoch": epoch, "loss": 1.0, "accuracy": 0.5} for epoch in range(600)])
    assert len(client.get_metric_history(run.id, "loss")) == 600


def test_trials_are_shown_under_their_study(experiment, client):
    with a_run("study") as study, a_run("trial 0", parent=study.id) as trial:
        pass
    found = client.search_runs([experiment], f"tags.mlflow.parentRunId = '{study.id}'")
    assert [run.info.run_id for run in found] == [trial.id]


@pytest.mark.parametrize("absent", tracking.REQUIRED_TAGS)
def test_a_run_that_could_not_be_traced_back_is_refused(absent):
    tags = {name: value for name, value in TAGS.items() if name != absent}
    with pytest.raises(ValueError, match=f"'a' lacks the tags {absent}"), a_run(tags=tags):
        pass


def test_recording_before_connecting_is_refused(monkeypatch):
    monkeypatch.setattr(connection, "_connection", None)
    with pytest.raises(RuntimeError, match=r"connect.*before the first run"), a_run():
        pass


# How a run ends


@pytest.mark.usefixtures("experiment")
@pytest.mark.parametrize(
    ("error", "status", "state", "reason"),
    [
        (ValueError("loss is nan\nat epoch 3"), "FAILED", "failed", "ValueError: loss is nan"),
        (MemoryError(), "FAILED", "failed", "MemoryError"),
        (KeyboardInterrupt(), "KILLED", "interrupted", "KeyboardInterrupt"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_run_whose_block_raises_says_why_in_one_line(client, error, status, state, reason):
    with pytest.raises(type(error)), a_run() as run:
        raise error
    stored = client.get_run(run.id)
    assert (stored.info.status, stored.data.tags["state"], stored.data.tags["reason"]) == (
        status,
        state,
        reason,
    )


@pytest.mark.usefixtures("experiment")
def test_a_pruned_trial_stays_pruned_whatever_its_block_raises(client):
    with suppress(ValueError), a_run() as run:
        run.end("pruned", "worse than the median at epoch 1")
        raise ValueError("prune")
    stored = client.get_run(run.id)
    assert (stored.info.status, stored.data.tags["state"]) == ("KILLED", "pruned")
    assert stored.data.tags["reason"] == "worse than the median at epoch 1"


@pytest.mark.usefixtures("experiment")
def test_an_error_of_mlflow_does_not_hide_the_error_of_the_block(client, monkeypatch):
    def unreachable(*_, **__):
        raise OSError("gone")

    monkeypatch.setattr(client, "set_terminated", unreachable)
    with pytest.raises(ValueError, match="the real error") as caught, a_run():
        raise ValueError("the real error")
    assert caught.value.__notes__ == ["MLflow could not be told either: gone"]


def test_only_runs_of_dead_processes_are_reconciled(home, client):
    dead, living = in_process(NEVER_ENDS, home), in_process(NEVER_ENDS, home)
    try:
        experiment, dead_run = (dead.stdout.readline().strip() for _ in range(2))
        _, living_run = (living.stdout.readline().strip() for _ in range(2))
        tracking.connect("sqlite:///mlflow.db", "together", home)
        with a_run("ours") as ours:
            elsewhere = client.create_run(experiment, tags={"process": "another-machine 1 0.0"}).info.run_id
            os.kill(dead.pid, signal.SIGKILL)
            # not yet waited for, so the process is still listed, as a zombie
            wait_until(lambda: psutil.Process(dead.pid).status() == psutil.STATUS_ZOMBIE)

            assert tracking.reconcile() == [dead_run]
            dead.wait()
            assert tracking.reconcile() == []
        stored = client.get_run(dead_run)
        assert (stored.info.status, stored.data.tags["state"]) == ("KILLED", "interrupted")
        assert stored.data.tags["reason"] == "its process was killed"
        assert client.get_run(living_run).info.status == "RUNNING"
        assert client.get_run(elsewhere).info.status == "RUNNING"
        assert client.get_run(ours.id).info.status == "FINISHED"
    finally:
        for process in (dead, living):
            process.kill()
            process.communicate()


def wait_until(holds, seconds=20.0):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_later_process_with_the_same_number_is_not_mistaken_for_the_dead_one():
    me = this_process()
    assert not is_dead(me)
    assert is_dead(f"{socket.gethostname()} {os.getpid()} 1000.00")


# Where the store is


def test_four_processes_connect_to_a_new_store_at_once_and_silently(tmp_path):
    together = [in_process(CONNECT, tmp_path) for _ in range(4)]
    said = [process.communicate(timeout=120) for process in together]
    assert [process.returncode for process in together] == [0] * 4
    assert {out for out, _ in said} == {said[0][0]}
    assert {err for _, err in said} == {""}


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


@pytest.mark.usefixtures("experiment")
def test_connecting_leaves_mlflows_patience_for_later_requests_as_it_was():
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ


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


# What is written down


def test_values_are_written_as_yaml_would_write_them():
    values = {"a": None, "b": {"c": True, "d": [1, None]}, "e": Colour.red, "f": {}, "g": 1e-05, "h": ""}
    assert flatten(values) == {
        "a": "null",
        "b.c": "true",
        "b.d": "[1, null]",
        "e": "red",
        "f": "{}",
        "g": "1e-05",
        "h": "",
    }


@pytest.mark.usefixtures("experiment")
def test_a_long_value_is_shortened_visibly(client):
    with a_run(parameters={"classes": "x" * 10_000}) as run:
        pass
    stored = client.get_run(run.id).data.params["classes"]
    assert stored.startswith("xxx")
    assert stored.endswith("… (10000 characters)")


names = st.text("abc_", min_size=1, max_size=3)


@given(st.dictionaries(names, st.integers() | st.dictionaries(names, st.integers(), min_size=1)))
def test_flattening_keeps_every_value_under_its_path(values):
    flat = flatten(values)
    nested = {(k, j): v for k, inner in values.items() if isinstance(inner, dict) for j, v in inner.items()}
    plain = {(k,): v for k, v in values.items() if not isinstance(v, dict)}
    assert flat == {".".join(path): str(value) for path, value in (nested | plain).items()}


def git(repository, *arguments):
    identity = ["-c", "user.name=me", "-c", "user.email=me@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=repository, check=True, capture_output=True)


def test_the_commit_is_recorded_and_whether_the_code_differs_from_it(tmp_path):
    git(tmp_path, "init")
    for name in ("code.py", "dvc.lock"):
        (tmp_path / name).write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")

    def now():
        origin.cache_clear()
        return origin(tmp_path)

    assert len(now()["mlflow.source.git.commit"]) == 40
    assert now()["git_dirty"] == "false"
    (tmp_path / "dvc.lock").write_text("2")
    assert now()["git_dirty"] == "false"
    (tmp_path / "code.py").write_text("2")
    assert now()["git_dirty"] == "true"


def test_outside_git_no_commit_is_recorded(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert not {"mlflow.source.git.commit", "git_dirty"} & origin(tmp_path).keys()


def test_the_saved_view_shows_what_every_recipe_is_recorded_with() -> None:
    recorded = tracked(Finetune(), depth=0, unit=None)
    assert set(view.PARAMETERS) <= set(recorded)
    assert {"method", "phases", "depth", "head_lr", "body_lr"} <= set(view.PARAMETERS)


# Attempts that do not count, and runs that are gone on with


@pytest.mark.usefixtures("experiment")
@pytest.mark.parametrize(("state", "status"), [("interrupted", "KILLED"), ("failed", "FAILED")])
def test_a_run_that_ended_is_superseded(client, state, status):
    with a_run() as run:
        pass
    tracking.supersede(run.id, state, "its worker died")
    stored = client.get_run(run.id)
    assert (stored.info.status, stored.data.tags["state"]) == (status, state)
    assert stored.data.tags["reason"] == "its worker died"


@pytest.mark.usefixtures("experiment")
def test_a_run_that_no_longer_exists_is_superseded_in_silence(client):
    with a_run() as run:
        pass
    tracking.supersede("0" * 32, "interrupted", "x")
    client.delete_run(run.id)
    tracking.supersede(run.id, "interrupted", "x")


@pytest.mark.usefixtures("experiment")
def test_of_a_studys_runs_all_but_those_that_count_are_interrupted(client):
    with a_run(study="it's one") as counts, suppress(KeyboardInterrupt), a_run(study="it's one"):
        raise KeyboardInterrupt
    with a_run(study="it's one") as stray, a_run(study="another") as other:
        pass
    assert tracking.supersede_all_but({counts.id}, "it's one") == [stray.id]
    states = [client.get_run(run.id).data.tags["state"] for run in (counts, stray, other)]
    assert states == ["complete", "interrupted", "complete"]


@pytest.mark.usefixtures("experiment")
def test_a_run_is_gone_on_with_and_keeps_its_parameters(client):
    with suppress(ValueError), a_run(parameters={"trials": 4}, lock="seed: 0\n") as first:
        raise ValueError("stopped")
    with a_run(parameters={"trials": 8}, again=first.id, lock="seed: 0\n") as second:
        assert second.id == first.id
        stored = client.get_run(first.id)
        assert stored.info.status == "RUNNING"
        assert not {"state", "reason"} & stored.data.tags.keys()
        assert stored.data.tags["process"] == this_process()
    stored = client.get_run(first.id)
    assert (stored.info.status, stored.data.tags["state"]) == ("FINISHED", "complete")
    assert stored.data.params == {"trials": "4"}


@pytest.mark.usefixtures("experiment")
def test_a_run_that_is_gone_cannot_be_gone_on_with_so_another_begins(client):
    with a_run() as deleted:
        pass
    client.delete_run(deleted.id)
    for former in ("0" * 32, deleted.id, None):
        with a_run(again=former) as run:
            assert run.id not in ("0" * 32, deleted.id)


@pytest.mark.usefixtures("experiment")
def test_more_runs_than_a_page_are_found(client, monkeypatch):
    for _ in range(3):
        with a_run(study="paged"):
            pass
    search = client.search_runs
    monkeypatch.setattr(client, "search_runs", lambda *a, **k: search(*a, max_results=1, **k))
    assert len(tracking.supersede_all_but(set(), "paged")) == 3
