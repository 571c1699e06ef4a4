"""The time a study has used counts over all calls and ends it."""

from contextlib import suppress
from pathlib import Path

import optuna
import pytest
from optuna.trial import Trial
from tests_tasks import Bowl, random_search

from thawline.search.study import time_limit
from thawline.search.study.engine import ask, run_trials
from thawline.search.study.progress import note, shown
from thawline.search.study.study import counted, open_study
from thawline.search.study.time_limit import (
    IDLE_SECONDS,
    mark_time,
    seconds_left,
    seconds_used,
    time_is_up,
    too_late_to_begin,
)


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
    return Bowl(random_search(minutes=2), name=request.node.name)


@pytest.fixture
def study(task: Bowl, database: Path) -> optuna.Study:
    return open_study(task, database)


def test_a_study_without_a_limit_has_all_the_time(database: Path, request: pytest.FixtureRequest) -> None:
    study = open_study(Bowl(random_search(), name=request.node.name), database)
    mark_time(study)
    assert seconds_left(study) is None
    assert not time_is_up(study)
    assert not too_late_to_begin(study)


def test_time_counts_between_marks_and_up_to_now(study: optuna.Study, wall: Time) -> None:
    mark_time(study)
    wall.now += 30
    assert seconds_left(study) == pytest.approx(90)
    mark_time(study)
    wall.now += 40
    assert seconds_left(study) == pytest.approx(50)
    assert not time_is_up(study)
    mark_time(study)
    wall.now += 50
    mark_time(study)
    assert seconds_left(study) == 0


def test_one_trial_is_complete_before_the_time_is_up(study: optuna.Study, wall: Time) -> None:
    mark_time(study)
    for _ in range(3):
        wall.now += 50
        mark_time(study)
    assert not time_is_up(study)
    assert too_late_to_begin(study)
    study.add_trial(optuna.trial.create_trial(value=1.0))
    assert time_is_up(study)


def test_time_in_which_nobody_was_at_work_does_not_count(study: optuna.Study, wall: Time) -> None:
    mark_time(study)
    wall.now += 20
    mark_time(study)
    wall.now += IDLE_SECONDS + 1
    assert seconds_left(study) == pytest.approx(100)
    mark_time(study)
    assert seconds_left(study) == pytest.approx(100)


def test_two_workers_do_not_use_twice_the_time(
    study: optuna.Study, task: Bowl, database: Path, wall: Time
) -> None:
    other = open_study(task, database)
    for _ in range(3):
        for each in (study, other):
            mark_time(each)
        wall.now += 10
    assert seconds_left(study) == seconds_left(other) == pytest.approx(90)


def test_a_machine_whose_clock_is_behind_does_not_count_time_again(study: optuna.Study, wall: Time) -> None:
    for _ in range(3):
        mark_time(study)
        wall.now -= 20  # the other machine
        mark_time(study)
        wall.now += 20 + 10
    assert seconds_left(study) == pytest.approx(90)
    assert seconds_used(study) == pytest.approx(20)


def test_whoever_is_killed_while_it_marks_has_counted_all_or_nothing(
    study: optuna.Study, wall: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark_time(study)
    wall.now += 30
    write, writes = study.set_user_attr, iter([None])

    def killed_after_one(name: str, value: object) -> None:
        if next(writes, ...) is ...:
            raise KeyboardInterrupt
        write(name, value)

    monkeypatch.setattr(study, "set_user_attr", killed_after_one)
    with suppress(KeyboardInterrupt):
        mark_time(study)
    assert seconds_left(study) == pytest.approx(90)


def test_more_minutes_than_last_time_go_on_where_it_was(
    study: optuna.Study, task: Bowl, database: Path, wall: Time
) -> None:
    mark_time(study)
    wall.now += 60
    mark_time(study)
    task.search.minutes = 5
    assert seconds_left(open_study(task, database)) == pytest.approx(240)


def test_trials_run_until_the_time_is_up_and_the_next_call_finds_none_left(
    study: optuna.Study, task: Bowl, wall: Time
) -> None:
    def objective(trial: Trial, parent: str) -> float:
        wall.now += 25
        return task.value(trial)

    task.objective = objective  # type: ignore[method-assign]
    run_trials(task, study, "")
    assert len(counted(study)) == 5
    assert time_is_up(study)
    run_trials(task, study, "")
    assert len(counted(study)) == 5


def test_a_trial_is_not_begun_that_would_be_cut_off(
    study: optuna.Study, task: Bowl, monkeypatch: pytest.MonkeyPatch
) -> None:
    work_one(study, task)
    monkeypatch.setattr(time_limit, "median", lambda _: 60.0)
    monkeypatch.setattr(time_limit, "seconds_left", lambda _: 29.0)
    assert too_late_to_begin(study)
    assert ask(study, task) is None
    monkeypatch.setattr(time_limit, "seconds_left", lambda _: 31.0)
    assert ask(study, task) is not None


def work_one(study: optuna.Study, task: Bowl) -> None:
    trial = ask(study, task)
    assert trial is not None
    study.tell(trial, task.value(trial))


def test_progress_counts_seconds_where_time_is_the_limit(
    study: optuna.Study, task: Bowl, wall: Time, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with shown(study, task, "search") as update:
        mark_time(study)
        wall.now += 59
        mark_time(study)
        wall.now += 59
        mark_time(study)
        work_one(study, task)
        wall.now += 20
        update()
    assert "search (seconds): 120/120, about 0 s left, best -" in caplog.text
    assert note(study).endswith(", 1 complete")
