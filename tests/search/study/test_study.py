"""A study is found again by name and refused where something else decided it; its trials are counted."""

import warnings
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from tests_tasks import Bowl, random_search

from thawline.config.errors import UserError
from thawline.search.study.engine import ask, run_and_tell, run_trials
from thawline.search.study.study import SharedStudy, best_trial, counted, open_study, report


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each test names a study of its own: making the tables takes a second."""
    return tmp_path_factory.mktemp("studies") / "studies.db"


@pytest.fixture
def task(request: pytest.FixtureRequest) -> Bowl:
    return Bowl(random_search(4), name=request.node.name)


def tell_as(study: SharedStudy, task: Bowl, *values: float, loss: float = 0.0) -> None:
    """One trial that comes to `values`."""
    trial = ask(study, task)
    assert trial is not None
    trial.set_user_attr("val_loss", loss)
    study.tell(trial, list(values))


def test_trials_are_the_total_not_the_addition(task: Bowl, database: Path) -> None:
    for total, expected in [(2, 2), (2, 2), (3, 3)]:
        task.search.trials = total
        run_trials(task, open_study(task, database), "")
        assert len(counted(open_study(task, database))) == expected


def test_a_smaller_total_counts_what_it_always_counted(task: Bowl, database: Path) -> None:
    task.search.trials = 3
    study = open_study(task, database)
    run_trials(task, study, "")
    assert [trial.number for trial in counted(study, 2)] == [0, 1]
    assert best_trial(study, 2) == max(counted(study, 2), key=lambda trial: trial.values)


def test_another_seed_proposes_something_else(task: Bowl, database: Path) -> None:
    proposed = []
    for seed in (0, 1):
        other = Bowl(task.search, name=f"{task.name} {seed}", seed=seed)
        trial = ask(open_study(other, database), other)
        assert trial is not None
        proposed.append(trial.suggest_float("y", 0, 1))
    assert proposed[0] != proposed[1]


def test_a_study_decided_by_something_else_is_refused_and_says_what_differs(
    task: Bowl, database: Path
) -> None:
    task.decisive = {"space": {"head_lr": [1e-4, 1e-2], "depths": None}, "data": "1f2e"}
    open_study(task, database)
    task.decisive = {"space": {"head_lr": [1e-4, 1e-1], "depths": None}, "data": "77aa", "folds": 5}
    with pytest.raises(UserError) as refused:
        open_study(task, database)
    assert str(refused.value).splitlines() == [
        f"The study {task.name!r} was decided by other settings or data, so it cannot be gone on with.",
        "  data: study has 1f2e, now 77aa",
        "  folds: study has None, now 5",
        "  space.head_lr: study has [0.0001, 0.01], now [0.0001, 0.1]",
        "  Go back to what the study has, or begin another one: search.study=another_name",
    ]


def test_a_refusal_lists_eight_differences_at_most(task: Bowl, database: Path) -> None:
    task.decisive = {"values": {f"f{index}": 0 for index in range(11)}}
    open_study(task, database)
    task.decisive = {"values": {f"f{index}": 1 for index in range(11)}}
    with pytest.raises(UserError, match="f6: study has 0, now 1\n  … and 3 more\n"):
        open_study(task, database)


def test_equal_content_written_differently_is_no_difference(task: Bowl, database: Path) -> None:
    task.decisive = {"depths": (0, 4), "rates": {"low": 1e-4}}
    open_study(task, database)
    task.decisive = {"rates": {"low": 0.0001}, "depths": [0, 4]}
    open_study(task, database)


def test_ties_go_to_the_lower_loss_then_to_the_earlier_trial(task: Bowl, database: Path) -> None:
    study = open_study(task, database)
    for value, loss in [(0.8, 0.1), (0.9, 0.3), (0.9, 0.2), (0.9, 0.2)]:
        tell_as(study, task, value, loss=loss)
    best = best_trial(study)
    assert best is not None
    assert best.number == 2


def test_of_two_objectives_the_first_decides_then_the_cost(task: Bowl, database: Path) -> None:
    task.directions = ["maximize", "minimize"]
    study = open_study(task, database)
    for accuracy, cost in [(0.8, 1.0), (0.9, 5.0), (0.9, 3.0)]:
        tell_as(study, task, accuracy, cost)
    best = best_trial(study)
    assert best is not None
    assert best.values == [0.9, 3.0]


def test_a_study_without_a_complete_trial_has_no_best(task: Bowl, database: Path) -> None:
    study = open_study(task, database)
    assert best_trial(study) is None
    trial = ask(study, task)
    assert trial is not None
    study.tell(trial, state=TrialState.FAIL)
    assert best_trial(study) is None
    assert len(counted(study)) == 1


def test_a_trial_that_was_given_back_makes_its_reports_once(task: Bowl, database: Path) -> None:
    task.search.trials = 1
    study = open_study(task, database)
    interruptions = iter([True, False])

    def objective(trial: optuna.Trial, parent: str) -> float:
        for step in range(3):
            report(trial, 0.1 * step, step)
            if step == 1 and next(interruptions, False):
                raise KeyboardInterrupt
        return 0.5

    task.objective = objective  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        run_trials(task, study, "")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run_trials(task, study, "")
    assert counted(study)[0].intermediate_values == {0: 0.0, 1: 0.1, 2: 0.2}


def test_a_study_of_two_objectives_has_no_reports(task: Bowl, database: Path) -> None:
    task.directions = ["maximize", "minimize"]
    study = open_study(task, database)
    trial = ask(study, task)
    assert trial is not None
    report(trial, 0.5, 0)
    task.objective = lambda *_: (0.5, 1.0)  # type: ignore[method-assign]
    assert run_and_tell(study, task, trial, "") is TrialState.COMPLETE
