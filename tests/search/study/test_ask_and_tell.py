"""No place of a study is lost, and none is counted twice, whatever happens to those who work on it."""

from pathlib import Path

import optuna
import pytest
from optuna.trial import Trial, TrialState
from tests_processes import Processes
from tests_tasks import TAGS, Bowl, random_search

from thawline import tracking
from thawline.config.errors import UserError
from thawline.search.study import ask_and_tell as claims
from thawline.search.study.ask_and_tell import (
    claim,
    give_back,
    may_come_back,
    requeue_dead,
    settle,
    signs_of_life,
)
from thawline.search.study.database import alone, backend_of
from thawline.search.study.study import counted, eligible, open_study, places
from thawline.search.study.workers import work
from thawline.tracking.connection import connected


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("studies") / "studies.db"


@pytest.fixture
def task(request: pytest.FixtureRequest) -> Bowl:
    return Bowl(random_search(4, attempts=3), name=request.node.name)


@pytest.fixture
def study(task: Bowl, database: Path) -> optuna.Study:
    return open_study(task, database)


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> Processes:
    return Processes(monkeypatch)


def claimed(study: optuna.Study, task: Bowl) -> Trial:
    trial = claim(study, task)
    assert trial is not None
    return trial


def requeue(study: optuna.Study, attempts: int = 3) -> list[int]:
    with alone(study):
        return requeue_dead(study, attempts)


# Claiming


def test_each_place_is_claimed_once_and_in_order(study: optuna.Study, task: Bowl) -> None:
    trials = [claim(study, task) for _ in range(5)]
    assert [trial and trial.user_attrs["place"] for trial in trials] == [0, 1, 2, 3, None]


def test_the_sampler_knows_the_place_before_it_proposes(study: optuna.Study, task: Bowl) -> None:
    """So two workers propose for each place what one would have."""
    one, other = claimed(study, task), claimed(study, task)
    other.suggest_float("y", 0, 1)
    one.suggest_float("y", 0, 1)
    alone_ = Bowl(task.search, name=task.name + " alone")
    calm = open_study(alone_, Path(str(backend_of(study).engine.url.database)))
    work(alone_, calm, "")
    assert [trial.params["y"] for trial in places(study)] == [trial.params["y"] for trial in counted(calm, 2)]


# Dying


def test_a_dead_workers_trial_goes_back_with_its_place_and_parameters(
    study: optuna.Study, task: Bowl, processes: Processes
) -> None:
    before = claimed(study, task)
    x = before.suggest_float("x", 0, 1)
    processes.dies()
    after = claimed(study, task)
    assert (after.number, after.user_attrs["place"]) == (before.number, 0)
    assert after.params == {"x": x}
    assert after.user_attrs["deaths"] == 1


def test_the_trial_of_a_living_worker_is_left_alone(
    study: optuna.Study, task: Bowl, processes: Processes
) -> None:
    claimed(study, task)
    processes.acting = "worker 1"
    assert claimed(study, task).user_attrs["place"] == 1


def test_a_trial_whose_worker_died_before_it_signed_goes_back(
    study: optuna.Study, task: Bowl, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Trial, "set_user_attr", dies)
        with pytest.raises(KeyboardInterrupt):
            claim(study, task)
    assert claimed(study, task).user_attrs["place"] == 0


def test_a_worker_elsewhere_is_dead_when_it_gave_no_sign_of_life_for_the_grace(
    study: optuna.Study, task: Bowl, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("elsewhere 0", "here 1", "elsewhere 2"):
        processes.acting = name
        claimed(study, task)
    old = [trial._trial_id for trial in places(study)[:2]]
    monkeypatch.setattr(type(backend_of(study)), "_get_stale_trial_ids", lambda *_: old)
    # a machine that slept is no reason to think its own workers dead
    assert requeue(study) == [0]


def test_the_database_itself_tells_who_gave_no_sign_of_life(
    study: optuna.Study, task: Bowl, processes: Processes
) -> None:
    processes.acting = "elsewhere 0"
    trial = claimed(study, task)
    assert requeue(study) == []
    backend = backend_of(study)
    with backend.engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE trial_heartbeats SET heartbeat = datetime('now', '-3 minutes') WHERE trial_id = ?",
            (trial._trial_id,),
        )
    assert requeue(study) == [0]


def test_signs_of_life_keep_coming_while_a_trial_runs(study: optuna.Study, task: Bowl) -> None:
    trial = claimed(study, task)
    with backend_of(study).engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM trial_heartbeats")
    with signs_of_life(study, trial, 0.05):
        for _ in range(200):
            with backend_of(study).engine.connect() as connection:
                found = connection.exec_driver_sql("SELECT trial_id FROM trial_heartbeats").all()
            if found:
                break
            claims.threading.Event().wait(0.05)
    assert [row[0] for row in found] == [trial._trial_id]


def test_a_trial_that_workers_keep_dying_of_fails_with_the_reason(
    study: optuna.Study, task: Bowl, processes: Processes
) -> None:
    for _ in range(3):
        assert claimed(study, task).user_attrs["place"] == 0
        processes.dies()
    assert claimed(study, task).user_attrs["place"] == 1
    (failed,) = counted(study)
    assert failed.state is TrialState.FAIL
    assert failed.user_attrs["reason"] == "its worker died 3 times (out of memory?)"


# Settling


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
    study: optuna.Study, task: Bowl, error: Exception, state: TrialState, reason: str
) -> None:
    def objective(*_: object) -> float:
        raise error

    task.objective = objective  # type: ignore[method-assign]
    assert settle(study, task, claimed(study, task), "") is state
    (trial,) = counted(study)
    assert (trial.state, trial.user_attrs["reason"]) == (state, reason)


def test_a_value_that_is_not_a_number_is_a_failure(study: optuna.Study, task: Bowl) -> None:
    task.objective = lambda *_: float("nan")  # type: ignore[method-assign]
    assert settle(study, task, claimed(study, task), "") is TrialState.FAIL
    assert counted(study)[0].user_attrs["reason"] == "what the trial came to is not a number"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1), ZeroDivisionError("a defect")])
def test_an_interrupted_trial_goes_back_without_a_death_and_the_caller_is_told(
    study: optuna.Study, task: Bowl, error: BaseException
) -> None:
    def objective(*_: object) -> float:
        raise error

    task.objective = objective  # type: ignore[method-assign]
    for _ in range(5):
        with pytest.raises(type(error)):
            settle(study, task, claimed(study, task), "")
    (trial,) = places(study)
    assert trial.state is TrialState.WAITING
    assert "deaths" not in trial.user_attrs


def test_a_worker_thought_dead_does_not_settle_a_trial_that_another_has(
    study: optuna.Study, task: Bowl, processes: Processes
) -> None:
    late = claimed(study, task)
    processes.dies()
    current = claimed(study, task)
    processes.acting, current_process = "worker 0", processes.acting
    assert settle(study, task, late, "") is TrialState.RUNNING
    assert counted(study) == []
    processes.acting = current_process
    assert settle(study, task, current, "") is TrialState.COMPLETE
    processes.acting = "worker 0"
    assert settle(study, task, late, "") is TrialState.COMPLETE
    assert len(counted(study)) == 1


def test_there_is_something_to_wait_for_while_another_worker_runs_a_trial(
    study: optuna.Study, task: Bowl, processes: Processes
) -> None:
    task.search.trials = 1
    trial = claimed(study, task)
    processes.acting = "worker 1"
    assert claim(study, task) is None
    assert may_come_back(study, task)
    processes.acting = "worker 0"
    settle(study, task, trial, "")
    assert not may_come_back(study, task)


def test_a_trial_given_back_before_the_total_was_lowered_is_not_run(
    study: optuna.Study, task: Bowl, processes: Processes
) -> None:
    for _ in range(3):
        claimed(study, task)
    give_back(study, {processes.acting})
    task.search.trials = 2
    assert [claimed(study, task).user_attrs["place"] for _ in range(2)] == [0, 1]
    assert claim(study, task) is None
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, 0.5)
    assert not may_come_back(study, task)
    task.search.trials = 3
    assert claimed(study, task).user_attrs["place"] == 2


def test_the_next_attempt_may_keep_the_limits_that_the_former_exceeded(
    study: optuna.Study, task: Bowl, processes: Processes
) -> None:
    first = claimed(study, task)
    first.set_constraint("seconds", 12.5)
    processes.dies()
    again = claimed(study, task)
    assert (again.number, again.constraints) == (first.number, {})
    assert "fixed_params" in places(study)[0].system_attrs
    assert settle(study, task, again, "") is TrialState.COMPLETE
    assert eligible(study) == counted(study)


def test_a_worker_interrupted_between_claim_and_settling_gives_the_trial_back(
    study: optuna.Study, task: Bowl, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("thawline.search.study.workers.settle", interrupted)
    with pytest.raises(KeyboardInterrupt):
        work(task, study, "")
    assert [trial.state for trial in places(study)] == [TrialState.WAITING]


# What MLflow says of it


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DVC_ROOT", raising=False)
        tracking.connect("sqlite:///mlflow.db", "claims", tmp_path_factory.mktemp("mlflow"))


@pytest.mark.usefixtures("recording")
def test_the_runs_of_attempts_that_do_not_count_are_interrupted(
    study: optuna.Study, task: Bowl, processes: Processes
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
    died = claimed(study, task)
    objective(died, "")
    processes.dies()
    current = claimed(study, task)
    assert settle(study, task, current, "") is TrialState.COMPLETE
    assert [state_of(run) for run in runs] == ["interrupted", "complete"]
    assert counted(study)[0].user_attrs["run"] == runs[1]


@pytest.mark.usefixtures("recording")
def test_a_worker_that_was_only_thought_dead_leaves_the_others_run_alone(
    study: optuna.Study, task: Bowl, processes: Processes
) -> None:
    late = claimed(study, task)
    processes.dies()
    current = claimed(study, task)
    runs: list[str] = []

    def objective(trial: Trial, parent: str) -> float:
        with tracking.run(
            "trial", stage="search", parameters={}, tags=TAGS, study=trial.study.study_name
        ) as run:
            runs.append(run.id)
            trial.set_user_attr("run", run.id)
            if trial is current:
                processes.acting, itself = "worker 0", processes.acting
                settle(study, task, late, "")
                processes.acting = itself
            return task.value(trial)

    task.objective = objective  # type: ignore[method-assign]
    assert settle(study, task, current, "") is TrialState.COMPLETE
    assert settle(study, task, late, "") is TrialState.COMPLETE
    assert counted(study)[0].user_attrs["run"] == runs[0]
    # the last attempt found the trial settled before it could say which its run is
    assert tracking.supersede_all_but({runs[0]}, task.name) == [runs[2]]
    assert [state_of(run) for run in runs] == ["complete", "interrupted", "interrupted"]


@pytest.mark.usefixtures("recording")
def test_the_run_of_a_trial_that_workers_keep_dying_of_failed(
    study: optuna.Study, task: Bowl, processes: Processes
) -> None:
    trial = claimed(study, task)
    with tracking.run("trial", stage="search", parameters={}, tags=TAGS) as run:
        trial.set_user_attr("run", run.id)
    processes.dies()
    requeue(study, attempts=1)
    stored = connected().client.get_run(run.id)
    assert (stored.info.status, stored.data.tags["state"]) == ("FAILED", "failed")
    assert stored.data.tags["reason"] == "its worker died 1 times (out of memory?)"


def test_trials_of_processes_that_were_stopped_are_given_back(
    study: optuna.Study, task: Bowl, processes: Processes
) -> None:
    for name in ("one", "other"):
        processes.acting = name
        claimed(study, task)
    give_back(study, {"one"})
    assert [trial.state for trial in places(study)] == [TrialState.WAITING, TrialState.RUNNING]


def state_of(run: str) -> str:
    return str(connected().client.get_run(run).data.tags["state"])
