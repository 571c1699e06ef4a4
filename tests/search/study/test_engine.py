"""No place of a study is lost, and none is counted twice, whatever happens to those who work on it."""

import time
from pathlib import Path

import optuna
import pytest
from optuna.trial import Trial, TrialState
from tests_processes import Processes
from tests_tasks import TAGS, Bowl, random_search

from thawline import tracking
from thawline.config.errors import UserError
from thawline.search.study.engine import ask, may_come_back, run_and_tell, run_trials
from thawline.search.study.recovery import give_back, recover, signs_of_life
from thawline.search.study.study import SharedStudy, counted, open_study
from thawline.search.task import LimitExceededError
from thawline.tracking.connection import connected


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("studies") / "studies.db"


@pytest.fixture
def task(request: pytest.FixtureRequest) -> Bowl:
    return Bowl(random_search(4, attempts=3), name=request.node.name)


@pytest.fixture
def study(task: Bowl, database: Path) -> SharedStudy:
    return open_study(task, database)


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> Processes:
    return Processes(monkeypatch)


def asked(study: SharedStudy, task: Bowl) -> Trial:
    trial = ask(study, task)
    assert trial is not None
    return trial


def recovered(study: SharedStudy, task: Bowl) -> list[int]:
    with study.alone():
        return recover(study, task.search)


# Asking


def test_each_place_is_given_out_once_and_in_order(study: SharedStudy, task: Bowl) -> None:
    trials = [ask(study, task) for _ in range(5)]
    assert [None if trial is None else trial.number for trial in trials] == [0, 1, 2, 3, None]


def test_two_workers_propose_for_each_place_what_one_would_have(study: SharedStudy, task: Bowl) -> None:
    one, other = asked(study, task), asked(study, task)
    other.suggest_float("y", 0, 1)
    one.suggest_float("y", 0, 1)
    calm_task = Bowl(task.search, name=task.name + " alone")
    calm = open_study(calm_task, Path(str(study.database.engine.url.database)))
    run_trials(calm_task, calm, "")
    assert [trial.params["y"] for trial in study.trials] == [trial.params["y"] for trial in counted(calm, 2)]


# Dying


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


def test_the_trial_of_a_living_worker_is_left_alone(
    study: SharedStudy, task: Bowl, processes: Processes
) -> None:
    asked(study, task)
    processes.acting = "worker 1"
    assert asked(study, task).number == 1


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
    for _ in range(3):
        assert asked(study, task).number == 0
        processes.dies()
    assert asked(study, task).number == 1
    (failed,) = counted(study)
    assert failed.state is TrialState.FAIL
    assert failed.user_attrs["reason"] == "its worker died 3 times (out of memory?)"


# Telling


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (optuna.TrialPruned("worse than half\nof them"), TrialState.PRUNED, "worse than half"),
        (UserError("loss is nan\n  lower it"), TrialState.FAIL, "loss is nan"),
        (optuna.TrialPruned(), TrialState.PRUNED, "TrialPruned"),
    ],
    ids=["pruned", "failed", "without words"],
)
def test_a_trial_that_did_not_complete_says_why_and_counts(
    study: SharedStudy, task: Bowl, error: Exception, state: TrialState, reason: str
) -> None:
    def objective(*_: object) -> float:
        raise error

    task.objective = objective  # type: ignore[method-assign]
    assert run_and_tell(study, task, asked(study, task), "") is state
    (trial,) = counted(study)
    assert (trial.state, trial.user_attrs["reason"]) == (state, reason)


def test_a_value_that_is_not_a_number_is_a_failure(study: SharedStudy, task: Bowl) -> None:
    task.objective = lambda *_: float("nan")  # type: ignore[method-assign]
    assert run_and_tell(study, task, asked(study, task), "") is TrialState.FAIL
    assert counted(study)[0].user_attrs["reason"] == "what the trial came to is not a number"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1), ZeroDivisionError("a defect")])
def test_an_interrupted_trial_goes_back_without_a_death_and_the_caller_is_told(
    study: SharedStudy, task: Bowl, error: BaseException
) -> None:
    def objective(*_: object) -> float:
        raise error

    task.objective = objective  # type: ignore[method-assign]
    for _ in range(2):
        with pytest.raises(type(error)):
            run_trials(task, study, "")
    (trial,) = study.trials
    assert trial.state is TrialState.WAITING
    assert "deaths" not in trial.user_attrs


def test_a_worker_interrupted_before_the_trial_runs_gives_it_back(
    study: SharedStudy, task: Bowl, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("thawline.search.study.engine.run_and_tell", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_trials(task, study, "")
    assert [trial.state for trial in study.trials] == [TrialState.WAITING]


def test_a_worker_thought_dead_does_not_settle_a_trial_that_another_has(
    study: SharedStudy, task: Bowl, processes: Processes
) -> None:
    late = asked(study, task)
    processes.dies()
    current = asked(study, task)
    processes.acting, current_process = "worker 0", processes.acting
    assert run_and_tell(study, task, late, "") is TrialState.RUNNING
    assert counted(study) == []
    processes.acting = current_process
    assert run_and_tell(study, task, current, "") is TrialState.COMPLETE
    processes.acting = "worker 0"
    assert run_and_tell(study, task, late, "") is TrialState.COMPLETE
    assert len(counted(study)) == 1


def test_there_is_something_to_wait_for_while_another_worker_runs_a_trial(
    study: SharedStudy, task: Bowl, processes: Processes
) -> None:
    task.search.trials = 1
    trial = asked(study, task)
    processes.acting = "worker 1"
    assert ask(study, task) is None
    assert may_come_back(study, task)
    processes.acting = "worker 0"
    run_and_tell(study, task, trial, "")
    assert not may_come_back(study, task)


def test_a_trial_given_back_before_the_total_was_lowered_is_not_run(
    study: SharedStudy, task: Bowl, processes: Processes
) -> None:
    for _ in range(3):
        asked(study, task)
    give_back(study, {processes.acting})
    task.search.trials = 2
    assert [asked(study, task).number for _ in range(2)] == [0, 1]
    assert ask(study, task) is None
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, 0.5)
    assert not may_come_back(study, task)
    task.search.trials = 3
    assert asked(study, task).number == 2


def exceeding(task: Bowl) -> None:
    def objective(trial: Trial, _: str) -> float:
        raise LimitExceededError("would train for 72 seconds", "seconds", 12.5)

    task.objective = objective  # type: ignore[method-assign]


def test_samplers_learn_by_how_much_a_trial_exceeds_its_limit(study: SharedStudy, task: Bowl) -> None:
    exceeding(task)
    assert run_and_tell(study, task, asked(study, task), "") is TrialState.PRUNED
    (trial,) = counted(study)
    assert trial.constraints == {"seconds": 12.5}
    assert trial.user_attrs["reason"] == "would train for 72 seconds"


def test_a_worker_killed_while_it_tells_of_a_limit_is_made_up_for(
    study: SharedStudy, task: Bowl, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the next attempt, which may keep the limit, would be a complete trial beyond it."""
    exceeding(task)
    trial = asked(study, task)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(study, "tell", killed)
        with pytest.raises(KeyboardInterrupt):
            run_and_tell(study, task, trial, "")
    processes.dies()
    assert recovered(study, task) == [trial.number]
    assert [each.state for each in study.trials] == [TrialState.PRUNED]
    assert study.trials[0].user_attrs["reason"] == "would train for 72 seconds"


# What MLflow says of it


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DVC_ROOT", raising=False)
        tracking.connect("sqlite:///mlflow.db", "trials", tmp_path_factory.mktemp("mlflow"))


@pytest.mark.usefixtures("recording")
def test_the_runs_of_attempts_that_do_not_count_are_interrupted(
    study: SharedStudy, task: Bowl, processes: Processes
) -> None:
    runs: list[str] = []

    def objective(trial: Trial, parent: str) -> float:
        with tracking.run(
            "trial", stage="search", parameters={}, tags=TAGS, study=trial.study.study_name
        ) as run:
            runs.append(run.id)
            trial.set_user_attr("run", run.id)
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
        with tracking.run(
            "trial", stage="search", parameters={}, tags=TAGS, study=trial.study.study_name
        ) as run:
            runs.append(run.id)
            trial.set_user_attr("run", run.id)
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
