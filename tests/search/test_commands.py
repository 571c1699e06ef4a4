"""Studies as people see them, go on with them and take them elsewhere."""

import csv
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import tests_tasks
from optuna.trial import TrialState, create_trial
from tests_tasks import random_search
from tests_trials import config_of

from thawline import tracking
from thawline.artifacts import COSTS, RECIPE, Artifacts, read_json, write_json
from thawline.config.choices import Goal
from thawline.config.errors import UserError
from thawline.config.sections import Config, Search
from thawline.search import commands
from thawline.search.study.configuration import by_hand, configuration, remember
from thawline.search.study.run import run_study
from thawline.search.study.study import open_study
from thawline.search.trial.trials import Trials
from thawline.training.recipe import lock_of


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The repository is the test's own folder."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)


def finished(root: Path, trials: int, **changes: Any) -> optuna.Study:
    """A study of `tests_tasks.bowl`, or of the task that `make` makes."""
    make = changes.pop("make", tests_tasks.bowl)
    config = Config(search=random_search(trials, **changes))
    return run_study(make, config, Artifacts.under(root), "", "search")


def default() -> Search:
    return commands.storage_of(None)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository in which a study of three trials was finished."""
    root = tmp_path_factory.mktemp("three")
    finished(root, 3)
    return root


@pytest.fixture
def here(three: Path, tmp_path: Path) -> Path:
    """A copy of it, to which the test has come."""
    return shutil.copytree(three, tmp_path, dirs_exist_ok=True)


def bowl() -> optuna.Study:
    return commands.study_named("bowl", default())


def test_the_lock_names_the_database_where_it_is_elsewhere(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    finished(tmp_path, 1, storage=url)
    with pytest.raises(UserError, match="There are no studies yet"):
        commands.studies(default())
    (tmp_path / "params.yaml").write_text(f"search:\n  storage: {url}\n")
    assert [each.name for each in commands.studies(default())] == ["bowl"]


def test_without_a_database_none_is_made(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"studies.db does not exist.\n.*run: dvc repro"):
        commands.studies(default())
    assert list(tmp_path.iterdir()) == []


def test_a_path_is_no_address_and_the_right_one_is_told() -> None:
    with pytest.raises(UserError, match="--storage old/studies.db is no .*\n.*sqlite:///old/studies.db"):
        commands.storage_of("old/studies.db")


def test_a_server_that_does_not_answer_is_said_so() -> None:
    search = commands.storage_of("postgresql+psycopg2://me:secret@127.0.0.1:9/studies")
    with pytest.raises(UserError, match="cannot be used") as refused:
        commands.studies(search)
    assert "secret" not in str(refused.value)


def test_an_unknown_study_is_named_with_the_nearest_and_all(here: Path) -> None:
    with pytest.raises(UserError, match=r"no study 'bowll'.\n  nearest: bowl\n  all of them: bowl"):
        commands.study_named("bowll", default())


def test_a_study_at_a_glance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: str) -> None:
    monkeypatch.setattr(tests_tasks.Recorded, "seconds", 0.0)
    tracking.connect(runs, "thawline", tmp_path)
    study = finished(tmp_path, 6, make=tests_tasks.recorded)
    found = commands.overview(study)
    assert dict(found.states) == {"complete": 4, "pruned": 1, "failed": 1}
    assert found.failures == {5: "the loss is not a number"}
    complete = [trial.value for trial in study.trials if trial.state.name == "COMPLETE"]
    assert found.best is not None
    assert found.best.value == max(value for value in complete if value is not None)
    assert found.corrected is None
    assert found.seconds == sum(trial.duration.total_seconds() for trial in study.trials if trial.duration)


def test_only_the_last_failures_are_shown_the_latest_first(here: Path) -> None:
    study = bowl()
    for number in range(3, 9):
        told = {"reason": f"reason {number}"}
        study.add_trial(create_trial(state=TrialState.FAIL, user_attrs=told))
    assert list(commands.overview(study).failures) == [8, 7, 6, 5, 4]


def test_a_study_that_is_empty_has_no_best(here: Path) -> None:
    optuna.create_study(study_name="begun", storage=f"sqlite:///{here / 'scratch' / 'studies.db'}")
    found = {each.name: each for each in commands.studies(default())}
    assert found["begun"].best is None
    assert found["begun"].seconds == 0
    assert found["begun"].states == {}


def test_the_corrected_accuracy_is_that_of_this_study(here: Path) -> None:
    study = bowl()
    study.set_user_attr("outputs", str(here / "artifacts"))
    folder = here / "artifacts" / "search" / "finetuned"
    interval = {"mean": 0.8, "low": 0.7, "high": 0.9}
    best = commands.overview(study).best
    assert best is not None
    write_json(folder / COSTS, {"study": "bowl"})
    write_json(folder / RECIPE, {"selected": {"trial": best.number, "corrected": interval}})
    assert commands.overview(study).corrected == interval
    # a depth curve recommends another trial than the one that measured best
    write_json(folder / RECIPE, {"selected": {"trial": best.number + 1, "corrected": interval}})
    assert commands.overview(study).corrected is None
    write_json(folder / RECIPE, {"selected": {"trial": best.number, "corrected": interval}})
    write_json(folder / COSTS, {"study": "another"})
    assert commands.overview(study).corrected is None


def test_export_to_json_has_every_trial_whole(here: Path) -> None:
    study = bowl()
    assert commands.export("bowl", here / "all.json", default()) == 3
    whole = json.loads((here / "all.json").read_text())
    assert (whole["study"], whole["directions"]) == ("bowl", ["maximize"])
    for told, trial in zip(whole["trials"], study.trials, strict=True):
        assert told["params"] == trial.params
        assert told["values"] == trial.values
        assert told["state"] == "complete"
        assert told["started"] <= told["finished"]
        assert told["seconds"] >= 0
    assert whole["trials"][0]["attributes"]["known"] == "configured"


def test_export_to_csv_has_a_row_for_every_trial(here: Path) -> None:
    study = bowl()
    commands.export("bowl", here / "all.csv", default())
    with (here / "all.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["value"]) for row in rows] == [trial.value for trial in study.trials]
    assert [float(row["x"]) for row in rows] == [trial.params["x"] for trial in study.trials]
    # what is known beforehand is tried first
    assert [row["attribute_known"] for row in rows] == ["configured", "", ""]
    assert float(rows[0]["x"]) == 0.5
    first = ["number", "state", "value", "reason", "started", "finished", "seconds", "x", "y"]
    assert list(rows[0])[: len(first)] == first


def test_export_says_which_endings_there_are(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"ending '.xlsx'.\n  allowed: .csv, .json"):
        commands.export("bowl", tmp_path / "all.xlsx", default())


def test_an_export_to_where_no_file_can_be_says_so(here: Path) -> None:
    (here / "folder.csv").mkdir()
    (here / "file").write_text("old")
    for place in (here / "folder.csv", here / "file" / "all.json"):
        with pytest.raises(UserError, match=rf"{place} cannot be written: .*\n  export to another place"):
            commands.export("bowl", place, default())


def test_an_export_that_fails_leaves_the_old_file(here: Path) -> None:
    (here / "all.csv").write_text("old")
    with pytest.raises(UserError, match="no study 'other'"):
        commands.export("other", here / "all.csv", default())
    assert (here / "all.csv").read_text() == "old"


def test_a_study_remembers_its_configuration_but_no_password(here: Path) -> None:
    study = bowl()
    assert configuration(study) == Config(search=random_search(3))
    config = Config(search=random_search(1, storage="postgresql+psycopg2://me:hidden@host/studies"))
    config.tracking.uri = "postgresql://me:hidden@host/runs"
    remember(study, config, Artifacts.under(here))
    for kept in (study.user_attrs["config"], lock_of(config)):
        assert "hidden" not in kept
        assert "me:***@host/studies" in kept
        assert "me:***@host/runs" in kept


def test_resume_finds_the_password_of_the_runs_in_the_lock(toy_artifacts: Artifacts, tmp_path: Path) -> None:
    config = config_of("postgresql://me:hidden@127.0.0.1:9/runs")
    study = open_study(Trials(config, toy_artifacts), toy_artifacts.studies)
    remember(study, config, toy_artifacts)
    with pytest.raises(UserError, match=r"no study remembers a password.\n.*params\.yaml: tracking\.uri"):
        commands.resume(study.study_name, default())
    (tmp_path / "params.yaml").write_text(f"tracking:\n  uri: {config.tracking.uri}\n")
    with pytest.raises(UserError, match=r"cannot use the store postgresql://me:\*\*\*@127"):
        commands.resume(study.study_name, default())


def test_a_study_of_the_pipeline_goes_on_below_scratch(here: Path, three: Path) -> None:
    artifacts = by_hand(bowl())
    assert artifacts.root == three
    assert artifacts.outputs == three / "scratch" / "resumed" / "bowl"
    assert artifacts.find("prepare/target") == three / "artifacts" / "prepare" / "target"


def test_a_study_begun_by_hand_goes_on_in_its_own_folder(tmp_path: Path) -> None:
    begun = Artifacts.under(tmp_path, "1234")
    study = run_study(tests_tasks.bowl, Config(search=random_search(1)), begun, "", "search")
    assert by_hand(study) == begun


def test_a_study_begun_elsewhere_says_where(here: Path) -> None:
    study = bowl()
    study.set_user_attr("root", "/nowhere/leaves")
    with pytest.raises(UserError, match="'bowl' was begun in /nowhere/leaves, which is not there"):
        by_hand(study)


def test_a_study_that_remembers_nothing_cannot_be_resumed(here: Path) -> None:
    optuna.create_study(study_name="old", storage=f"sqlite:///{here / 'scratch' / 'studies.db'}")
    with pytest.raises(UserError, match="'old' does not say with which configuration"):
        commands.resume("old", default())


@pytest.fixture
def _unplotted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots are drawn in tests of their own."""
    monkeypatch.setattr("thawline.search.search.log_plots", lambda *_: None)


def begun(artifacts: Artifacts, runs: str, **search: Any) -> tuple[str, Config]:
    """A study of one real trial of two, and the configuration that asks for two."""
    config = config_of(runs, trials=2, **search)
    fewer = replace(config, search=replace(config.search, trials=1, trials_per_depth=1))
    tracking.connect(runs, "thawline", artifacts.root)
    study = run_study(Trials, fewer, artifacts, "", "search")
    remember(study, config, artifacts)
    return study.study_name, config


@pytest.mark.slow
@pytest.mark.usefixtures("_unplotted")
def test_resume_runs_what_is_missing_and_leaves_the_pipelines_files(
    toy_artifacts: Artifacts, runs: str
) -> None:
    name, config = begun(toy_artifacts, runs)
    written = commands.resume(name, default())
    study = commands.study_named(name, default())
    assert dict(commands.overview(study).states) == {"complete": 2}
    assert read_json(written.outputs / "search" / "finetuned" / COSTS)["study"] == name
    assert not (toy_artifacts.outputs / "search").exists()
    assert Trials(config, toy_artifacts).name == name
    assert commands.resume(name, default()) == written
    assert len(study.get_trials()) == 2


def test_resume_refuses_by_name_what_has_changed_since(toy_artifacts: Artifacts, runs: str) -> None:
    config = config_of(runs)
    study = open_study(Trials(config, toy_artifacts), toy_artifacts.studies)
    remember(study, config, toy_artifacts)
    card = toy_artifacts.stage("replace_head") / "card.json"
    write_json(card, read_json(card) | {"source_hash": "1" * 64})
    with pytest.raises(
        UserError, match=rf"{study.study_name}.*was decided by other(.|\n)*source: study has 000.*, now 111"
    ):
        commands.resume(study.study_name, default())


@pytest.mark.slow
def test_a_depth_curve_can_be_resumed_by_either_of_its_studies(toy_artifacts: Artifacts, runs: str) -> None:
    settings = {"goal": Goal.depth_curve, "trials_per_depth": 2, "seeds_per_depth": 2, "depths": [0, 1]}
    name, _ = begun(toy_artifacts, runs, **settings)
    commands.resume(name, default())
    names = [each.name for each in commands.studies(default())]
    seeds = next(each for each in names if each.startswith(f"{name}-seeds-"))
    assert {each.goal for each in commands.studies(default())} == {"depth_curve", "fresh seeds"}
    commands.resume(seeds, default())
    assert sorted(names) == sorted(each.name for each in commands.studies(default()))


@pytest.mark.slow
def test_looking_at_studies_waits_for_nothing_heavy() -> None:
    heavy = ("torch", "mlflow", "pytorch_lightning", "pandas", "sklearn")
    code = f"import sys, thawline.search.commands; sys.exit(str([m for m in {heavy} if m in sys.modules]))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.stderr.strip() == "[]"
