"""A trial whose worker died, or was thought dead, goes back with its place; MLflow says so of its run."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from optuna.trial import Trial, TrialState
from tests_processes import Processes, asked, recovered
from tests_tasks import TAGS, Bowl

from thawline import tracking
from thawline.search.study.engine import ask, run_and_tell
from thawline.search.study.recovery import give_back, signs_of_life
from thawline.search.study.study import SharedStudy, counted
from thawline.tracking.connection import connected


def test_a_dead_workers_trial_goes_back_with_its_place_and_parameters(
    study: SharedStudy, task: Bowl, processes: Processes
) -> None:
    before = asked(study, task)
    x = before.suggest_float("x", 0, 1)
    processes.dies()
    after = asked(study, task)
    assert after.number == before.number
    assert after.params == {"x": x}
    assert after.user_attrs["deaths"] == 1


def test_a_trial_whose_worker_died_before_it_signed_goes_back(
    study: SharedStudy, task: Bowl, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(SharedStudy, "set_trial_attr", dies)
        with pytest.raises(KeyboardInterrupt):
            ask(study, task)
    assert asked(study, task).number == 0


def test_a_worker_elsewhere_is_dead_when_it_gave_no_sign_of_life_for_the_grace(
    study: SharedStudy, task: Bowl, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("elsewhere 0", "here 1"):
        processes.acting = name
        asked(study, task)
    assert recovered(study, task) == []
    later = study.trial(0).user_attrs["sign_of_life"] + task.search.grace
    processes.acting = "elsewhere 2"
    number = asked(study, task).number
    study.set_trial_attr(number, "sign_of_life", later)
    monkeypatch.setattr("thawline.search.study.recovery.database_time", lambda _: later + 1)
    # a machine that slept is no reason to think its own workers dead
    assert recovered(study, task) == [0]


def test_signs_of_life_keep_coming_while_a_trial_runs(study: SharedStudy, task: Bowl) -> None:
    trial = asked(study, task)
    study.set_trial_attr(trial.number, "sign_of_life", 0.0)
    with signs_of_life(study, trial, 0.05):
        end = time.monotonic() + 10
        while study.trial(trial.number).user_attrs["sign_of_life"] == 0.0:
            assert time.monotonic() < end
            time.sleep(0.02)


def test_a_trial_that_workers_keep_dying_of_fails_with_the_reason(
    study: SharedStudy, task: Bowl, processes: Processes
) -> None:
    task.search.attempts = 2
    for _ in range(2):
        assert asked(study, task).number == 0
        processes.dies()
    assert asked(study, task).number == 1
    (failed,) = counted(study)
    assert failed.state is TrialState.FAIL
    assert failed.user_attrs["reason"] == "its worker died 2 times (out of memory?)"


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DVC_ROOT", raising=False)
        tracking.connect("sqlite:///mlflow.db", "trials", tmp_path_factory.mktemp("mlflow"))


@contextmanager
def recorded(trial: Trial, runs: list[str]) -> Iterator[None]:
    """Give the trial a run in MLflow, as a search does, and add it to `runs`."""
    study = trial.study.study_name
    with tracking.run("trial", stage="search", parameters={}, tags=TAGS, study=study) as run:
        runs.append(run.id)
        trial.set_user_attr("run", run.id)
        yield


@pytest.mark.usefixtures("recording")
def test_the_runs_of_attempts_that_do_not_count_are_interrupted(
    study: SharedStudy, task: Bowl, processes: Processes
) -> None:
    runs: list[str] = []

    def objective(trial: Trial, parent: str) -> float:
        with recorded(trial, runs):
            return task.value(trial)

    task.objective = objective  # type: ignore[method-assign]
    # killed between the end of its run and the telling of the study
    died = asked(study, task)
    objective(died, "")
    processes.dies()
    current = asked(study, task)
    assert run_and_tell(study, task, current, "") is TrialState.COMPLETE
    assert [state_of(run) for run in runs] == ["interrupted", "complete"]
    assert counted(study)[0].user_attrs["run"] == runs[1]


@pytest.mark.usefixtures("recording")
def test_a_worker_that_was_only_thought_dead_leaves_the_others_run_alone(
    study: SharedStudy, task: Bowl, processes: Processes
) -> None:
    late = asked(study, task)
    processes.dies()
    current = asked(study, task)
    runs: list[str] = []

    def objective(trial: Trial, parent: str) -> float:
        with recorded(trial, runs):
            if trial is current:
                processes.acting, itself = "worker 0", processes.acting
                run_and_tell(study, task, late, "")
                processes.acting = itself
            return task.value(trial)

    task.objective = objective  # type: ignore[method-assign]
    assert run_and_tell(study, task, current, "") is TrialState.COMPLETE
    assert run_and_tell(study, task, late, "") is TrialState.COMPLETE
    assert counted(study)[0].user_attrs["run"] == runs[0]
    # the last attempt found the trial settled before it could say which its run is
    assert tracking.supersede_all_but({runs[0]}, task.name) == [runs[2]]
    assert [state_of(run) for run in runs] == ["complete", "interrupted", "interrupted"]


@pytest.mark.usefixtures("recording")
def test_the_run_of_a_trial_that_workers_keep_dying_of_failed(
    study: SharedStudy, task: Bowl, processes: Processes
) -> None:
    trial = asked(study, task)
    with tracking.run("trial", stage="search", parameters={}, tags=TAGS) as run:
        trial.set_user_attr("run", run.id)
    processes.dies()
    task.search.attempts = 1
    recovered(study, task)
    stored = connected().client.get_run(run.id)
    assert (stored.info.status, stored.data.tags["state"]) == ("FAILED", "failed")
    assert stored.data.tags["reason"] == "its worker died 1 times (out of memory?)"


def test_trials_of_processes_that_were_stopped_are_given_back(
    study: SharedStudy, task: Bowl, processes: Processes
) -> None:
    for name in ("one", "other"):
        processes.acting = name
        asked(study, task)
    give_back(study, {"one"})
    assert [trial.state for trial in study.get_trials()] == [TrialState.WAITING, TrialState.RUNNING]


def state_of(run: str) -> str:
    return str(connected().client.get_run(run).data.tags["state"])
