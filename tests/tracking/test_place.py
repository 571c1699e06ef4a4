"""A checkout that was moved or copied records where it is, and shows what it brought along."""

import shutil
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from tests_tracking import a_run, forget_connections

from thawline import tracking
from thawline.tracking.connection import connected

URI = "sqlite:///mlflow.db"


@pytest.fixture
def record(monkeypatch, database):
    """Records a run as a stage in a checkout would, and returns it."""
    monkeypatch.delenv("DVC_ROOT", raising=False)

    def record(home, uri=URI):
        home.mkdir(exist_ok=True)
        path = home / uri.removeprefix("sqlite:///")  # home does not matter if that is absolute
        if not path.exists():
            shutil.copyfile(database, path)
        forget_connections()
        tracking.connect(uri, "thawline", home)
        with a_run(lock="seed: 0\n") as run:
            pass
        return run

    return record


def artifacts(run):
    return Path(unquote(urlsplit(connected().client.get_run(run.id).info.artifact_uri).path))


@pytest.mark.parametrize(
    ("there", "how"), [("one folder/deeper", shutil.copytree), ("año 10% #1", shutil.move)]
)
def test_a_checkout_records_below_itself_wherever_it_was_made(how, there, record, tmp_path, caplog):
    old, new = tmp_path / "old", tmp_path / there
    before = record(old)
    new.parent.mkdir(exist_ok=True)
    how(old, new)
    after = record(new)
    assert artifacts(after) == new / "mlartifacts" / after.id / "artifacts"
    assert artifacts(before) == new / "mlartifacts" / before.id / "artifacts"  # it came along
    assert (artifacts(before) / "params.yaml").read_text() == "seed: 0\n"
    assert (artifacts(after) / "params.yaml").read_text() == "seed: 0\n"
    assert not (old / "mlartifacts" / after.id).exists()
    assert old.exists() == (how is shutil.copytree)
    assert f"artifacts go to {new / 'mlartifacts'}, no longer to {old / 'mlartifacts'}" in caplog.text
    assert connected().client.get_run(after.id).data.tags["artifacts_moved_from"] == str(old / "mlartifacts")


def test_it_is_said_once(record, tmp_path, caplog):
    record(tmp_path / "old")
    (tmp_path / "old").rename(tmp_path / "new")
    record(tmp_path / "new")
    caplog.clear()
    again = record(tmp_path / "new")
    assert "no longer" not in caplog.text
    assert "artifacts_moved_from" not in connected().client.get_run(again.id).data.tags


def test_of_two_checkouts_with_one_database_each_records_below_itself(record, tmp_path):
    uri = f"sqlite:///{tmp_path / 'shared.db'}"
    one = record(tmp_path / "one", uri)
    other = record(tmp_path / "other", uri)
    again = record(tmp_path / "one", uri)
    for run, home in ((one, "one"), (other, "other"), (again, "one")):
        assert artifacts(run) == tmp_path / home / "mlartifacts" / run.id / "artifacts"
        assert (artifacts(run) / "params.yaml").exists()


def test_a_run_lies_below_its_checkout_even_if_another_one_connected_meanwhile(record, tmp_path):
    uri = f"sqlite:///{tmp_path / 'shared.db'}"
    for name in ("one", "other"):
        record(tmp_path / name, uri)
    tracking.connect(uri, "thawline", tmp_path / "one")
    ours = connected()
    tracking.connect(uri, "thawline", tmp_path / "other")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("thawline.tracking.connection._connection", ours)
        with a_run(lock="seed: 0\n") as run:
            pass
        assert artifacts(run) == tmp_path / "one" / "mlartifacts" / run.id / "artifacts"
        assert (artifacts(run) / "params.yaml").exists()


def test_a_place_that_somebody_else_chose_stays(record, tmp_path):
    record(tmp_path / "old")
    chosen = (tmp_path / "chosen").as_uri()
    connected().client.create_experiment("theirs", chosen)
    (tmp_path / "old").rename(tmp_path / "new")
    tracking.connect(URI, "theirs", tmp_path / "new")
    experiment = connected().client.get_experiment_by_name("theirs")
    assert experiment.artifact_location == chosen
    assert connected().moved_from is None
