"""A store that is lost ends nothing: what it was not told is kept, and sent once when it is there again."""

import json
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException
from tests_tracking import a_run, forget_connections, forget_stores, free_port, in_process, server

from thawline import tracking
from thawline.config.errors import UserError
from thawline.tracking.connection import connected
from thawline.tracking.origin import identity
from thawline.tracking.unsent import Story, Unsent

URI = "sqlite:///mlflow.db"


@pytest.fixture(autouse=True)
def no_dvc(monkeypatch):
    monkeypatch.delenv("DVC_ROOT", raising=False)


@pytest.fixture
def checkout(tmp_path, database):
    """A checkout whose store was used before."""
    shutil.copyfile(database, tmp_path / "mlflow.db")
    tracking.connect(URI, "thawline", tmp_path)
    return tmp_path


@pytest.fixture
def lose(checkout):
    """Takes the database away, and puts it back."""

    def switch(back=False):
        here, away = checkout / "mlflow.db", checkout / "away.db"
        (away if back else here).replace(here if back else away)
        forget_connections()

    return switch


def runs():
    """All runs of the experiment by their names; there must be one of each name."""
    found = connected().client.search_runs([connected().experiment_id])
    names = [run.info.run_name for run in found]
    assert len(names) == len({*names}), names
    return {run.info.run_name: run for run in found}


def kept(checkout):
    return sorted((checkout / "scratch" / "unsent").glob("*.json"))


def use(name, checkout, lost=lambda: None, **more):
    """One run with all that a run can have, in the middle of which `lost` is called."""
    (checkout / "card.json").write_text(f"{name}\n")
    with a_run(name, parameters={"depth": 3}, lock="seed: 0\n", **more) as run:
        run.log_history([{"epoch": 0, "loss": 2.0}])
        lost()
        run.log_history([{"epoch": epoch, "loss": 1.0} for epoch in (1, 2)])
        run.log_metrics({"accuracy": 0.5})
        run.log_tags({"warning": "ä"})
        run.log_artifact(checkout / "card.json")
        run.log_artifact(checkout / "card.json", "folder")
    (checkout / "card.json").write_text("changed since\n")
    return run


def whole(run, name):
    """Tell whether MLflow has all that `use` recorded."""
    client = connected().client
    history = [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, "loss")]
    texts = {
        file: client.download_artifacts(run.info.run_id, file) for file in ("card.json", "folder/card.json")
    }
    return (
        (run.info.status, run.data.tags["state"], run.data.tags["warning"]) == ("FINISHED", "complete", "ä")
        and run.data.params == {"depth": "3"}
        and sorted(history) == [(0, 2.0), (1, 1.0), (2, 1.0)]
        and run.data.metrics["accuracy"] == 0.5
        and all(Path(file).read_text() == f"{name}\n" for file in texts.values())
        and run.info.end_time >= run.info.start_time
    )


def test_a_database_that_is_lost_ends_no_run_and_is_told_later(checkout, lose, caplog):
    use("during", checkout, lose)
    use("after", checkout)
    assert caplog.text.count("MLflow is lost") == 1
    assert "scratch/unsent, and sent when a later stage reaches it" in caplog.text
    assert len(kept(checkout)) == 2

    lose(back=True)
    tracking.connect(URI, "thawline", checkout)
    found = runs()
    assert found.keys() == {"during", "after"}
    assert all(whole(run, name) for name, run in found.items())
    assert kept(checkout) == []
    assert not [path for path in (checkout / "scratch" / "unsent").iterdir() if path.is_dir()]


def test_what_waits_is_sent_by_whichever_stage_ends_next(checkout, lose, caplog):
    tracking.send_what_waits(URI, "thawline", checkout)
    lose()
    use("during", checkout)
    tracking.send_what_waits("sqlite:///missing/folder.db", "thawline", checkout)
    assert len(kept(checkout)) == 1, "of another store"
    lose(back=True)
    tracking.send_what_waits(URI, "thawline", checkout)
    assert kept(checkout) == []
    assert whole(runs()["during"], "during")


def test_a_stage_that_comes_again_while_the_store_is_lost_has_one_run(checkout, lose):
    with a_run("seed 0", once="finetune-1"):
        pass
    lose()
    for _ in range(2):
        use("pretrain", checkout, once="pretrain-1")
        use("seed 0", checkout, once="finetune-1")
    assert len(kept(checkout)) == 2
    lose(back=True)
    tracking.connect(URI, "thawline", checkout)
    found = runs()
    assert found.keys() == {"pretrain", "seed 0"}
    assert whole(found["pretrain"], "pretrain")
    use("pretrain", checkout, once="pretrain-1")
    assert len(runs()) == 2


def test_a_process_that_died_while_it_sent_leaves_no_run_twice(checkout, lose, monkeypatch):
    lose()
    use("a", checkout)
    lose(back=True)
    with monkeypatch.context() as patch:
        patch.setattr("mlflow.MlflowClient.set_terminated", interrupted)
        with pytest.raises(KeyboardInterrupt):
            tracking.connect(URI, "thawline", checkout)
    assert len(kept(checkout)) == 1
    tracking.connect(URI, "thawline", checkout)
    assert whole(runs()["a"], "a")


def interrupted(*_, **__):
    raise KeyboardInterrupt


def test_a_run_whose_making_was_done_but_not_answered_is_made_once(checkout, monkeypatch):
    client = connected().client
    create = client.create_run

    def unanswered(*args):
        create(*args)
        raise OSError("the connection was reset")

    monkeypatch.setattr(client, "create_run", unanswered)
    use("a", checkout)
    tracking.connect(URI, "thawline", checkout)
    assert whole(runs()["a"], "a")


@pytest.mark.slow
def test_a_database_that_begins_anew_gets_the_runs_that_it_was_not_told_all_of(checkout, lose):
    use("during", checkout, lose)
    forget_stores()
    tracking.connect(URI, "thawline", checkout)  # makes a new one
    run = runs()["during"]
    assert (run.info.status, run.data.params) == ("FINISHED", {"depth": "3"})
    assert run.data.metrics["accuracy"] == 0.5


@pytest.mark.slow
def test_a_database_that_began_anew_in_the_middle_ends_no_run(checkout, lose):
    def begin_anew():
        lose()
        forget_stores()

    use("during", checkout, begin_anew)
    tracking.connect(URI, "thawline", checkout)
    assert runs()["during"].info.status == "FINISHED"


def test_trials_are_shown_under_a_study_that_had_no_id_yet(checkout, lose):
    lose()
    with a_run("study") as study:
        with a_run("lost with it", parent=study.id, study="s"):
            pass
        lose(back=True)
        lost = connected()
        tracking.connect(URI, "thawline", checkout)  # as a worker would
        with a_run("of a worker", parent=study.id, study="s"):
            pass
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("thawline.tracking.connection._connection", lost)
            study.log_metrics({"val_accuracy": 0.9})
            study.end("complete")
    tracking.connect(URI, "thawline", checkout)
    found = runs()
    parents = {name: run.data.tags.get("mlflow.parentRunId") for name, run in found.items()}
    id = found["study"].info.run_id
    assert parents == {"study": None, "lost with it": id, "of a worker": id}


def test_trials_are_shown_under_a_study_that_was_lost_with_them(checkout, lose):
    lose()
    with a_run("study") as study, a_run("trial", parent=study.id, study="s"):
        pass
    lose(back=True)
    tracking.connect(URI, "thawline", checkout)
    found = runs()
    assert found["trial"].data.tags["mlflow.parentRunId"] == found["study"].info.run_id


def test_a_run_that_had_no_id_is_known_by_its_key(checkout, lose):
    lose()
    with a_run("first", study="s") as first, a_run("second", study="s") as second:
        pass
    lose(back=True)
    tracking.connect(URI, "thawline", checkout)
    assert tracking.supersede_all_but({first.id}, "s") == [runs()["second"].info.run_id]
    tracking.supersede(first.id, "failed", "its worker died")
    assert runs()["first"].data.tags["state"] == "failed"
    with a_run("ignored", again=second.id) as again:
        assert again.id == runs()["second"].info.run_id


def test_a_run_is_superseded_and_gone_on_with_without_a_store(checkout, lose):
    with a_run("trial") as trial, suppress(ValueError), a_run("search") as search:
        raise ValueError("stopped")
    lose()
    tracking.supersede(trial.id, "interrupted", "its worker died")
    with a_run("search", again=search.id) as again:
        again.log_metrics({"val_accuracy": 0.9})
    assert tracking.reconcile() == []
    lose(back=True)
    tracking.connect(URI, "thawline", checkout)
    found = runs()
    assert found["trial"].data.tags["state"] == "interrupted"
    assert found["search"].info.run_id == search.id
    assert (found["search"].data.tags["state"], found["search"].info.status) == ("complete", "FINISHED")
    assert found["search"].data.metrics == {"val_accuracy": 0.9}


def test_a_process_that_goes_on_is_waited_for_and_a_killed_one_is_not(checkout, lose):
    lose()
    with subprocess.Popen(["sleep", "600"]) as other:
        points = [("accuracy", 0.5, 0, 0)]
        story = Story("theirs", process=identity(other.pid))
        connected().unsent.keep(story, {"kind": "metrics", "points": points})
        lose(back=True)
        tracking.connect(URI, "thawline", checkout)
        assert runs() == {}
        other.kill()
    tracking.connect(URI, "thawline", checkout)
    run = runs()["theirs"]
    assert (run.info.status, run.data.tags["state"]) == ("KILLED", "interrupted")
    assert run.data.tags["reason"] == "its process was killed"


def test_what_mlflow_refuses_is_an_error_now_and_holds_nothing_up_later(checkout, lose, caplog):
    with a_run("a", parameters={"x": 1}) as run, pytest.raises(MlflowException, match="x"):
        run._tell("parameters", parameters={"x": "2"})
    lose()
    with a_run("refused") as refused:
        refused._tell("metrics", points=[("no/../name\n", 1.0, 0, 0)])
    use("fine", checkout)
    lose(back=True)
    tracking.connect(URI, "thawline", checkout)
    assert whole(runs()["fine"], "fine")
    assert "MLflow refuses what run refused has to tell" in caplog.text
    assert kept(checkout) == []
    (aside,) = (checkout / "scratch" / "unsent").glob("*.refused")
    assert json.loads(aside.read_text())["name"] == "refused"


def test_what_another_store_was_to_be_told_stays(checkout, lose):
    lose()
    use("a", checkout)
    lose(back=True)
    tracking.connect(URI, "another experiment", checkout)
    assert len(kept(checkout)) == 1


def test_a_server_that_was_never_reached_is_an_error_and_one_that_was_is_not(tmp_path, caplog):
    uri = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(UserError, match="Connection refused"):
        tracking.connect(uri, "thawline", tmp_path)
    Unsent(tmp_path / "scratch" / "unsent", uri, "thawline").remember("7")
    assert tracking.connect(uri, "thawline", tmp_path) == "7"
    assert "Connection refused" in caplog.text
    with a_run("a"):
        pass
    assert len(kept(tmp_path)) == 1


RECORD = """
import sys
from pathlib import Path
from thawline import tracking
uri, name = sys.argv[2:]
tags = {"seed": 0, "data_fingerprint": ""}
tracking.connect(uri, "thawline", Path(sys.argv[1]))
with tracking.run("search", stage="search", parameters={}, tags=tags) as study:
    for number in range(3):
        name = f"trial {number}"
        with tracking.run(name, stage="search", parameters={}, tags=tags, parent=study.id) as run:
            run.log_history([{"epoch": 0, "loss": 1.0}])
            if number == 1:
                print("now", flush=True)
                sys.stdin.readline()
            run.log_text("card.json", "{}")
"""


@pytest.mark.slow
def test_a_server_that_is_killed_ends_no_stage_and_has_each_run_once_when_it_is_back(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    with server(tmp_path, port):
        stage = in_process(RECORD, tmp_path, uri, "x", stdin=subprocess.PIPE)
        assert stage.stdout.readline() == "now\n"
    # the server and all it started were killed
    _, said = stage.communicate("\n", timeout=120)
    assert stage.returncode == 0, said
    assert len(kept(tmp_path)) == 3  # the study, the trial that ran and the one after it
    tracking.connect(uri, "thawline", tmp_path)  # the next stage begins without it
    use("finetune", tmp_path)
    with server(tmp_path, port):
        tracking.connect(uri, "thawline", tmp_path)
        found = runs()
        assert found.keys() == {"search", "trial 0", "trial 1", "trial 2", "finetune"}
        assert {run.info.status for run in found.values()} == {"FINISHED"}
        parents = {run.data.tags.get("mlflow.parentRunId") for run in found.values()}
        assert parents == {None, found["search"].info.run_id}
        assert whole(found["finetune"], "finetune")
        client = connected().client
        for number in range(3):
            files = client.list_artifacts(found[f"trial {number}"].info.run_id)
            assert [file.path for file in files] == ["card.json"]
    assert kept(tmp_path) == []
