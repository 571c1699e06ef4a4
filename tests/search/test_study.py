"""A study reaches its total, survives interruptions, and proposes the same trials again."""

import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.trial import Trial, TrialState

from thawline.config.sections import PrunerName, SamplerName, Search
from thawline.search.study import best_trial, counted, open_study, run_trials
from thawline.training.classifier import TrainingDivergedError

FIRST = {"x": 0.5}


def bowl(trial: Trial) -> float:
    value = -((trial.suggest_float("x", 0, 1) - 0.3) ** 2)
    trial.set_user_attr("val_loss", -value)
    return value


def run(
    database: Path,
    search: Search,
    objective: Callable[[Trial], float] = bowl,
    seed: int = 0,
) -> optuna.Study:
    study = open_study(database, "study", search)
    run_trials(study, search, objective, first=FIRST, seed=seed, after_trial=lambda *_: None)
    return study


def tried(study: optuna.Study) -> list[dict[str, float]]:
    return [trial.params for trial in study.trials if trial.state is TrialState.COMPLETE]


def test_trials_are_the_total_not_the_addition(tmp_path: Path) -> None:
    search = Search(trials=4, startup_trials=2)
    run(tmp_path / "s.db", search)
    assert len(run(tmp_path / "s.db", search).trials) == 4
    assert len(run(tmp_path / "s.db", Search(trials=6, startup_trials=2)).trials) == 6


def test_the_configured_recipe_is_tried_first(tmp_path: Path) -> None:
    assert tried(run(tmp_path / "s.db", Search(trials=2, startup_trials=1)))[0] == FIRST


@pytest.mark.parametrize("sampler", SamplerName)
def test_an_interrupted_study_proposes_what_an_undisturbed_one_would(
    sampler: SamplerName, tmp_path: Path
) -> None:
    search = Search(trials=8, startup_trials=3, sampler=sampler, pruner=PrunerName.none)
    interruptions = iter([True, False, False, True, False] + [False] * 20)

    def disturbed(trial: Trial) -> float:
        if next(interruptions):
            raise KeyboardInterrupt
        return bowl(trial)

    expected = tried(run(tmp_path / "calm.db", search))
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "disturbed.db", search, disturbed)
    study = run(tmp_path / "disturbed.db", search, disturbed)
    assert tried(study) == expected
    assert len(counted(study)) == 8


def test_another_seed_tries_something_else(tmp_path: Path) -> None:
    search = Search(trials=4, startup_trials=4)
    assert tried(run(tmp_path / "a.db", search)) != tried(run(tmp_path / "b.db", search, seed=1))


def test_a_diverged_trial_counts_and_says_why(tmp_path: Path) -> None:
    def diverging(trial: Trial) -> float:
        if bowl(trial) < -0.1:
            raise TrainingDivergedError("the training loss became nan in epoch 2.\n  lower it")
        return bowl(trial)

    study = run(tmp_path / "s.db", Search(trials=8, startup_trials=8), diverging)
    failed = [trial for trial in study.trials if trial.state is TrialState.FAIL]
    assert len(study.trials) == 8
    assert failed
    assert {trial.user_attrs["reason"] for trial in failed} == {"the training loss became nan in epoch 2."}


def test_a_mistake_in_the_code_is_not_swallowed(tmp_path: Path) -> None:
    def broken(trial: Trial) -> float:  # noqa: ARG001
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "s.db", Search(trials=2), broken)


SLEEPER = """
import sys, time
from pathlib import Path
from thawline.config.sections import Search
from thawline.search.study import open_study, run_trials

def sleeping(trial):
    value = -((trial.suggest_float("x", 0, 1) - 0.3) ** 2)
    trial.set_user_attr("val_loss", -value)
    if trial.number == 2:
        time.sleep(120)
    return value

search = Search(trials=5, startup_trials=2)
study = open_study(Path(sys.argv[1]), "study", search)
run_trials(study, search, sleeping, first={"x": 0.5}, seed=0, after_trial=lambda *_: None)
"""


def test_a_killed_study_goes_on_and_leaves_no_trial_running(tmp_path: Path) -> None:
    database = tmp_path / "s.db"
    process = subprocess.Popen([sys.executable, "-c", SLEEPER, str(database)])
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if _running(database):
            break
        time.sleep(0.2)
    assert _running(database) == 1
    process.kill()
    process.wait()
    study = run(database, Search(trials=5, startup_trials=2))
    assert len(counted(study)) == 5
    assert not [trial for trial in study.trials if trial.state is TrialState.RUNNING]
    assert tried(study) == tried(run(tmp_path / "calm.db", Search(trials=5, startup_trials=2)))


def _running(database: Path) -> int:
    """Trials that are running in the third place; 0 while the other process creates the tables."""
    try:
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
            found = connection.execute("SELECT COUNT(*) FROM trials WHERE state = 'RUNNING' AND number = 2")
            return int(found.fetchone()[0])
    except sqlite3.OperationalError:
        return 0


def test_a_smaller_total_gives_what_it_always_gives(tmp_path: Path) -> None:
    search = Search(trials=6, startup_trials=6)
    study = run(tmp_path / "s.db", search)
    fresh = run(tmp_path / "fresh.db", Search(trials=2, startup_trials=6))
    assert [trial.params for trial in counted(study, 2)] == tried(fresh)
    best, expected = best_trial(study, 2), best_trial(fresh)
    assert best is not None
    assert expected is not None
    assert best.params == expected.params


def test_any_seed_that_the_configuration_allows_works(tmp_path: Path) -> None:
    assert len(run(tmp_path / "s.db", Search(trials=2, startup_trials=1), seed=2**31 - 1).trials) == 2


def test_the_best_trial_breaks_ties_by_loss_then_by_order(tmp_path: Path) -> None:
    study = open_study(tmp_path / "s.db", "study", Search())
    for value, loss in ((0.8, 0.5), (0.9, 0.7), (0.9, 0.6), (0.9, 0.6)):
        trial = study.ask()
        trial.set_user_attr("val_loss", loss)
        study.tell(trial, value)
    best = best_trial(study)
    assert best is not None
    assert best.number == 2


def test_no_complete_trial_means_no_best(tmp_path: Path) -> None:
    assert best_trial(open_study(tmp_path / "s.db", "study", Search())) is None
