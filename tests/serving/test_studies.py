"""`thawline study`: tables for people, lines for pipes, errors that say what to do."""

import csv
import os
import pty
import shutil
import sys
from contextlib import suppress
from pathlib import Path

import optuna
import pytest
import tests_tasks
from optuna.trial import TrialState, create_trial
from tests_tasks import random_search

from thawline.artifacts import COSTS, RECIPE, Artifacts, write_json
from thawline.config.sections import Config
from thawline.search.study.configuration import OUTPUTS
from thawline.search.study.run import run_study
from thawline.serving.cli import main


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[optuna.Study, Path]:
    """Three complete trials and a failed one, and their database."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DVC_ROOT", raising=False)
        artifacts = Artifacts.under(tmp_path_factory.mktemp("studies"))
        study = run_study(tests_tasks.bowl, Config(search=random_search(3)), artifacts, "", "search")
    told = {"reason": "out of memory [even with half batches]"}
    study.add_trial(create_trial(state=TrialState.FAIL, user_attrs=told))
    return study, artifacts.studies


@pytest.fixture
def study(made: tuple[optuna.Study, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> optuna.Study:
    """That study in the database of the repository that the test stands in."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    database = Artifacts.under(tmp_path).studies
    database.parent.mkdir(parents=True)
    original, file = made
    shutil.copy(file, database)
    study = optuna.load_study(study_name=original.study_name, storage=f"sqlite:///{database}")
    study.set_user_attr(OUTPUTS, str(Artifacts.under(tmp_path).outputs))
    return study


def call(*arguments: str) -> int | str | None:
    with pytest.raises(SystemExit) as ended:
        main(["study", *arguments])
    return ended.value.code


def test_all_studies_are_lines_of_tabs_in_a_pipe(
    study: optuna.Study, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("show") == 0
    header, line = capsys.readouterr().out.splitlines()
    assert header == "study\tgoal\ttrials\tbest\ttime"
    cells = line.split("\t")
    assert cells[:3] == ["bowl", "recipe", "3 complete, 1 failed"]
    assert cells[3] == f"{100 * study.best_value:.1f} % (trial {study.best_trial.number})"


def test_one_study_tells_its_best_and_its_failures(
    study: optuna.Study, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("show", "bowl") == 0
    told = dict(line.split("\t") for line in capsys.readouterr().out.splitlines())
    assert list(told) == ["study", "goal", "trials", "best", "parameters", "time", "failure of trial 3"]
    x, y = (study.best_params[name] for name in ("x", "y"))
    assert told["parameters"] == f"x {x:.2g}, y {y:.2g}"
    assert told["failure of trial 3"] == "out of memory [even with half batches]"


def test_the_corrected_accuracy_stands_beside_the_best(
    study: optuna.Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "artifacts" / "search" / "finetuned"
    write_json(folder / COSTS, {"study": "bowl"})
    interval = {"mean": 0.841, "low": 0.752, "high": 0.92}
    write_json(folder / RECIPE, {"selected": {"trial": 1, "corrected": interval}})
    call("show", "bowl")
    assert "corrected\t84.1 % (75.2 to 92.0): for having been selected" in capsys.readouterr().out


def test_two_objectives_are_both_told(
    study: optuna.Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = f"sqlite:///{tmp_path / 'two.db'}"
    two = optuna.create_study(study_name="two", storage=storage, directions=["maximize", "minimize"])
    two.add_trial(create_trial(values=[0.9, 1.25e12], user_attrs={"val_loss": 0.1}))
    assert call("show", "--storage", storage) == 0
    assert "90.0 %, 1.25e+12 operations (trial 0)" in capsys.readouterr().out


def test_a_terminal_gets_a_table_without_tabs_or_lost_words(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = pty.openpty()
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    shown = b""
    with os.fdopen(theirs, "w") as terminal, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", terminal)
        assert call("show", "bowl") == 0
    # an error is how Linux says that the other end is closed
    with os.fdopen(ours, "rb", buffering=0) as file, suppress(OSError):
        while chunk := file.read(4096):
            shown += chunk
    lines = shown.decode().splitlines()
    assert "\t" not in shown.decode()
    assert any(line.split() == ["trials", "3", "complete,", "1", "failed"] for line in lines)
    assert "out of memory [even with half batches]" in shown.decode()


def test_trials_are_exported(study: optuna.Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("export", "bowl", "all.csv") == 0
    assert capsys.readouterr().out == "4 trials written to all.csv\n"
    with (tmp_path / "all.csv").open() as file:
        assert [row["state"] for row in csv.DictReader(file)] == ["complete"] * 3 + ["failed"]


def test_what_cannot_be_done_is_said_without_a_traceback(study: optuna.Study, tmp_path: Path) -> None:
    assert "error: There is no study 'bow'.\n  nearest: bowl" in str(call("show", "bow"))
    assert "allowed: .csv, .json" in str(call("export", "bowl", "all.txt"))
    assert "nowhere.db does not exist" in str(call("show", "--storage", "sqlite:///nowhere.db"))
    assert not list(tmp_path.glob("nowhere.db*"))
    told = str(call("export", "bowl", str(tmp_path / "scratch" / "studies.db" / "all.csv")))
    assert "all.csv cannot be written" in told


def test_no_database_yet_is_no_failure_of_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    assert str(call("show")).startswith("error: There are no studies yet: ")


def test_resume_says_where_the_results_are_and_what_to_run_next(
    study: optuna.Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    resumed = Artifacts.under(tmp_path, "resumed/bowl")
    monkeypatch.setattr(
        "thawline.search.commands.resume", lambda name, _: resumed if name == "bowl" else None
    )
    assert call("resume", "bowl") == 0
    told = capsys.readouterr().out
    assert f"results are below {tmp_path / 'scratch' / 'resumed' / 'bowl'}\n" in told
    assert "next: dvc repro" in told


def test_an_interrupted_resume_says_how_to_go_on(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("thawline.search.commands.resume", interrupted)
    assert call("resume", "bowl") == 130
    assert "run the same command again to go on" in capsys.readouterr().err
