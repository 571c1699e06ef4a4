"""A study ends at its deadline with what it has."""

from pathlib import Path

import optuna
import pytest
from optuna.trial import Trial
from tests_tasks import Bowl, random_search

from thawline.search.study import time_limit
from thawline.search.study.engine import ask, run_trials
from thawline.search.study.study import counted, open_study
from thawline.search.study.time_limit import seconds_left, set_deadline, time_is_up, too_late_to_begin


class Time:
    """The clock on the wall, moved by hand."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Time:
    wall = Time()
    monkeypatch.setattr(time_limit, "time", wall)
    return wall


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("studies") / "studies.db"


@pytest.fixture
def task(request: pytest.FixtureRequest) -> Bowl:
    return Bowl(random_search(20), name=request.node.name)


@pytest.fixture
def study(task: Bowl, database: Path, wall: Time) -> optuna.Study:
    study = open_study(task, database)
    set_deadline(study, 120)
    return study


def test_a_study_without_a_deadline_has_all_the_time(database: Path, request: pytest.FixtureRequest) -> None:
    study = open_study(Bowl(random_search(), name=request.node.name), database)
    set_deadline(study, None)
    assert seconds_left(study) is None
    assert not time_is_up(study)
    assert not too_late_to_begin(study)


def test_all_workers_know_how_much_time_is_left(
    study: optuna.Study, task: Bowl, database: Path, wall: Time
) -> None:
    wall.now += 30
    assert seconds_left(study) == seconds_left(open_study(task, database)) == pytest.approx(90)


def test_each_call_sets_the_deadline_anew(study: optuna.Study, wall: Time) -> None:
    wall.now += 1000
    set_deadline(study, 60)
    assert seconds_left(study) == pytest.approx(60)
    set_deadline(study, None)
    assert seconds_left(study) is None


def test_one_trial_is_complete_before_the_time_is_up(study: optuna.Study, task: Bowl, wall: Time) -> None:
    wall.now += 150
    assert not time_is_up(study)
    assert not too_late_to_begin(study)
    study.add_trial(optuna.trial.create_trial(value=1.0))
    assert time_is_up(study)


def test_trials_run_until_the_time_is_up(study: optuna.Study, task: Bowl, wall: Time) -> None:
    def objective(trial: Trial, parent: str) -> float:
        wall.now += 45
        return task.value(trial)

    task.objective = objective  # type: ignore[method-assign]
    run_trials(task, study, "")
    assert len(counted(study)) == 3
    assert time_is_up(study)


def test_a_trial_is_not_begun_that_would_be_cut_off(
    study: optuna.Study, task: Bowl, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = ask(study, task)
    assert trial is not None
    study.tell(trial, task.value(trial))
    monkeypatch.setattr(time_limit, "median", lambda _: 60.0)
    monkeypatch.setattr(time_limit, "seconds_left", lambda _: 29.0)
    assert too_late_to_begin(study)
    assert ask(study, task) is None
    monkeypatch.setattr(time_limit, "seconds_left", lambda _: 31.0)
    assert ask(study, task) is not None
