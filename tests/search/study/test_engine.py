"""No place of a study is lost, and none is counted twice, whatever happens to those who work on it."""

from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import Trial, TrialState
from tests_processes import Processes, asked, recovered
from tests_tasks import Bowl

from thawline.config.errors import UserError
from thawline.search.study.engine import ask, may_come_back, run_and_tell, run_trials
from thawline.search.study.recovery import give_back
from thawline.search.study.study import SharedStudy, counted, open_study
from thawline.search.task import LimitExceededError


def test_each_place_is_given_out_once_and_in_order(study: SharedStudy, task: Bowl) -> None:
    trials = [ask(study, task) for _ in range(5)]
    assert [None if trial is None else trial.number for trial in trials] == [0, 1, 2, 3, None]


def test_two_workers_propose_for_each_place_what_one_would_have(study: SharedStudy, task: Bowl) -> None:
    one, other = asked(study, task), asked(study, task)
    other.suggest_float("y", 0, 1)
    one.suggest_float("y", 0, 1)
    calm_task = Bowl(replace(task.search, trials=2), name=task.name + " alone")
    calm = open_study(calm_task, Path(str(study.database.engine.url.database)))
    run_trials(calm_task, calm, "")
    assert [trial.params["y"] for trial in study.trials] == [trial.params["y"] for trial in counted(calm, 2)]


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


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ZeroDivisionError("a defect")])
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
