"""One worker or several: the same trials; killed ones are replaced, and Ctrl-C gives every trial back."""

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import psutil
import pytest
import tests_tasks
from optuna.trial import TrialState
from tests_tasks import TAGS, random_search

from thawline import tracking
from thawline.artifacts import Artifacts
from thawline.config.errors import UserError
from thawline.config.sections import Config, Search, Trainer
from thawline.machine import cores
from thawline.search.study.engine import Make, Work
from thawline.search.study.local_processes import WorkerError
from thawline.search.study.run import run_study, shared_out
from thawline.search.study.study import counted, open_study
from thawline.tracking.connection import connected


@pytest.fixture(autouse=True)
def _no_temporary_experiment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DVC_ROOT", raising=False)


def run(make: Make, root: Path, search: Search, parent: str = "") -> optuna.Study:
    config = Config(search=search)
    return run_study(make, config, Artifacts.under(root), parent, "search")


def came_to(study: optuna.Study) -> list[tuple[TrialState, dict[str, float], list[float] | None]]:
    return [(trial.state, trial.params, trial.values) for trial in counted(study)]


@pytest.mark.slow
def test_two_workers_come_to_what_one_does_though_one_of_them_is_killed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    alone = run(tests_tasks.varied, tmp_path / "alone", random_search(7))
    together = run(tests_tasks.varied, tmp_path / "together", random_search(7, workers=2))
    assert came_to(together) == came_to(alone)
    assert [state.name for state, _, _ in came_to(together)] == [
        *("COMPLETE", "COMPLETE", "COMPLETE", "PRUNED", "COMPLETE", "FAIL", "COMPLETE")
    ]
    assert [trial.user_attrs.get("deaths", 0) for trial in counted(together)] == [0, 1, 0, 0, 0, 0, 0]
    assert "search: 7/7, best -" in caplog.text
    assert "5 complete, 1 pruned, 1 failed" in caplog.text


def test_mlflow_says_what_the_trials_came_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tests_tasks.Recorded, "seconds", 0.0)
    tracking.connect("sqlite:///mlflow.db", "thawline", tmp_path)
    with tracking.run("study", stage="search", parameters={}, tags=TAGS) as parent:
        study = run(tests_tasks.recorded, tmp_path, random_search(6), parent.id)
    recorded = connected().client.search_runs(
        [connected().experiment_id], f"tags.mlflow.parentRunId = '{parent.id}'"
    )
    states = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
    assert {each.info.run_id: each.data.tags["state"] for each in recorded} == {
        trial.user_attrs["run"]: states[trial.state.name] for trial in counted(study)
    }
    assert {trial.state.name for trial in counted(study)} == states.keys()


@pytest.mark.slow
def test_a_worker_that_is_killed_is_replaced_and_a_deadly_trial_fails(tmp_path: Path) -> None:
    study = run(tests_tasks.deadly, tmp_path, random_search(4, workers=2, attempts=2))
    assert [trial.state.name for trial in counted(study)] == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert counted(study)[1].user_attrs["reason"] == "its worker died 2 times (out of memory?)"


@pytest.mark.slow
def test_workers_that_die_before_they_begin_end_the_study_with_advice(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"3 workers died one after another.*status -9.*\n.*workers=1"):
        run(tests_tasks.killed_at_birth, tmp_path, random_search(4, workers=2, attempts=1))


@pytest.mark.slow
def test_a_defect_in_a_worker_ends_the_study_with_its_traceback(tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match=r"(?s)long .*in objective.*ZeroDivisionError: a defect"):
        run(tests_tasks.broken, tmp_path, random_search(4, workers=2))
    study = open_study(tests_tasks.Bowl(random_search(4)), Artifacts.under(tmp_path).studies)
    assert {trial.state for trial in study.trials} == {TrialState.WAITING}
    assert not any("deaths" in trial.user_attrs for trial in study.trials)


def test_a_task_named_by_where_it_runs_is_found_out(tmp_path: Path) -> None:
    alone = Config(search=random_search(4), trainer=Trainer(threads=0))
    of_worker = Config(search=alone.search, trainer=Trainer(threads=1))
    artifacts = Artifacts.under(tmp_path)
    name = tests_tasks.misnamed(alone, artifacts).name
    with pytest.raises(RuntimeError, match=r"a worker's study is bowl of 1, its parent's bowl of 0"):
        Work(tests_tasks.misnamed, of_worker, artifacts, "", name).do()


def test_each_worker_has_its_share_of_the_cores_unless_told_otherwise() -> None:
    config = Config(search=Search(workers=cores()), trainer=Trainer())
    assert shared_out(config).trainer.threads == 1
    assert shared_out(Config(search=Search(workers=1))).trainer.threads == cores()
    assert shared_out(Config(search=Search(workers=2), trainer=Trainer(threads=3))).trainer.threads == 3


DRIVER = """
import signal, sys
from pathlib import Path
# what a shell starts in the background ignores Ctrl-C
signal.signal(signal.SIGINT, signal.default_int_handler)
import tests_tasks
from thawline.artifacts import Artifacts
from thawline.config.sections import Config
from thawline.search.study.run import run_study
search = tests_tasks.random_search(6, workers=int(sys.argv[2]))
try:
    run_study(tests_tasks.slow, Config(search=search), Artifacts.under(Path(sys.argv[1])), "", "search")
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_gives_every_trial_back_and_the_rest_is_run_next_time(tmp_path: Path, workers: int) -> None:
    task = tests_tasks.Bowl(random_search(6))
    study = open_study(task, Artifacts.under(tmp_path).studies)
    command = [sys.executable, "-W", "error", "-c", DRIVER, str(tmp_path), str(workers)]
    # a group of its own, so that Ctrl-C reaches all of its processes as in a terminal
    with subprocess.Popen(
        command,
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
        env=tests_tasks.finding_modules(),
    ) as driver:
        try:
            wait_until(lambda: len(running(study)) == workers)
            below = psutil.Process(driver.pid).children(recursive=True)
            os.killpg(driver.pid, signal.SIGINT)
            _, said = driver.communicate(timeout=60)
        finally:
            driver.kill()
    assert driver.returncode == 130
    assert "Traceback" not in said
    wait_until(lambda: not any(process.is_running() for process in below))
    assert running(study) == []
    assert all(trial.user_attrs.get("deaths") is None for trial in study.trials)
    done = len(counted(study))
    assert done < 6
    assert len(counted(run(tests_tasks.bowl, tmp_path, random_search(6)))) == 6


def running(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    return study.get_trials(states=(TrialState.RUNNING,))


def wait_until(holds, seconds=60.0):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
def test_workers_end_when_their_parent_is_killed_and_the_next_one_makes_up_for_them(tmp_path: Path) -> None:
    task = tests_tasks.Bowl(random_search(6))
    study = open_study(task, Artifacts.under(tmp_path).studies)
    command = [sys.executable, "-c", DRIVER, str(tmp_path), "2"]
    driver = subprocess.Popen(command, env=tests_tasks.finding_modules())
    try:
        wait_until(lambda: len(running(study)) == 2)
        below = psutil.Process(driver.pid).children(recursive=True)
    finally:
        driver.kill()
        driver.wait()
    wait_until(lambda: not any(process.is_running() for process in below))
    assert len(running(study)) == 2
    again = run(tests_tasks.bowl, tmp_path, random_search(6))
    assert [trial.state for trial in again.trials] == [TrialState.COMPLETE] * 6
    assert sum(trial.user_attrs.get("deaths", 0) for trial in again.trials) == 2
