"""Runs: what they hold, how they end, and which of them count."""

import json
import os
import signal
import subprocess
import time
from contextlib import suppress

import psutil
import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from tests_tracking import TAGS, a_run

from thawline import tracking
from thawline.tracking import connection
from thawline.tracking.origin import identity, this_process

# What a run holds


@pytest.mark.usefixtures("experiment")
def test_a_finished_run_holds_parameters_history_artifacts_and_origin(client, home):
    rows = [
        {"seed": 0, "epoch": epoch, "val_accuracy": epoch / 10, "train_loss": None} for epoch in range(30)
    ]
    parameters = {"finetune": {"head_lr": 1e-3, "depth": 4}, "model": {"architecture": "resnet18"}}

    with a_run(
        "seed 0", parameters=parameters, lock="seed: 0\n", tags=TAGS | {"contender": "finetuned"}
    ) as run:
        run.log_history(rows)
        run.log_metrics({"test_accuracy": 0.9})
        run.log_dict("notes.json", {"ä": 1})

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
    expected = {"stage": "finetune", "state": "complete"} | {
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
    def refuse(*_, **__):
        raise MlflowException("deleted", INVALID_PARAMETER_VALUE)

    monkeypatch.setattr(client, "set_terminated", refuse)
    with pytest.raises(ValueError, match="the real error") as caught, a_run():
        raise ValueError("the real error")
    assert caught.value.__notes__ == ["MLflow could not be told either: deleted"]


@pytest.mark.usefixtures("experiment")
def test_a_store_that_is_lost_while_an_error_is_told_is_not_said_to_have_that_error(
    client, monkeypatch, caplog
):
    def refuse(*_, **__):
        raise MlflowException("no answer")

    monkeypatch.setattr(client, "set_terminated", refuse)
    with pytest.raises(OSError, match="card.json"), a_run():
        raise FileNotFoundError(2, "No such file", "card.json")
    assert "MLflow is lost: no answer\n" in caplog.text


def test_only_runs_of_dead_processes_are_reconciled(experiment, client):
    def run_of(process):
        return client.create_run(experiment, tags={"process": process}).info.run_id

    dead, living = (subprocess.Popen(["sleep", "600"]) for _ in range(2))
    try:
        dead_run, living_run = (run_of(identity(process.pid)) for process in (dead, living))
        elsewhere = run_of("another-machine 1 0.0")
        with a_run("ours") as ours:
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
            process.wait()


def wait_until(holds, seconds=20.0):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


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


def test_a_stage_that_is_killed_after_its_run_ended_has_one_run(experiment, client, home, request, tmp_path):
    with a_run("pretrain", stage="pretrain", once="pretrain-1") as first:
        first.log_history([{"epoch": 0, "loss": 1.0}])
    with subprocess.Popen(["sleep", "600"]) as process:
        client.set_tag(first.id, "process", identity(process.pid))
        process.kill()
    assert tracking.reconcile() == []

    with a_run("pretrain", stage="pretrain", once="pretrain-1") as again:
        again.log_history([{"epoch": 0, "loss": 1.0}])
    with a_run("pretrain", stage="pretrain", once="pretrain-2") as other:
        pass
    found = client.search_runs([experiment])
    assert [run.info.run_id for run in found] == [other.id, again.id]
    assert again.id == first.id
    assert {run.info.status for run in found} == {"FINISHED"}
    assert found[1].data.tags["process"] == this_process()
    assert len(client.get_metric_history(again.id, "loss")) == 1

    tracking.connect(f"sqlite:///{home}/mlflow.db", request.node.name, tmp_path)
    with a_run("pretrain", stage="pretrain", once="pretrain-1") as elsewhere:
        pass
    assert elsewhere.id != again.id, "another checkout's run is its own"


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


def test_a_run_names_its_pictures_once_however_often_it_is_told(experiment, client):
    data = [tracking.Data("leaves", role, "f" * 64, {"pictures": 3}) for role in ("training", "validation")]
    with a_run(data=data) as run:
        run.log_data(data)
    inputs = client.get_run(run.id).inputs.dataset_inputs
    assert {(each.dataset.name, each.tags[0].value) for each in inputs} >= {("leaves", "training")}
    assert {each.dataset.digest for each in inputs} == {"f" * 32}
    assert len(inputs) <= 2
