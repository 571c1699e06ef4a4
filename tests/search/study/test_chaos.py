"""Workers and their parents are killed at random moments; the study comes to what an undisturbed one does."""

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from pathlib import Path

import optuna
import psutil
import pytest
import tests_postgresql
import tests_tasks
from optuna.trial import TrialState
from tests_tasks import TAGS, random_search

from thawline import tracking
from thawline.artifacts import Artifacts
from thawline.config.sections import Config, Search
from thawline.search.study.run import run_study
from thawline.search.study.study import counted, open_study
from thawline.tracking.connection import connected
from thawline.tracking.origin import is_dead

KILLS = int(os.environ.get("THAWLINE_KILLS", "3"))
"""THAWLINE_KILLS=20 takes ten minutes."""
TRIALS = KILLS + 4
PARENTS = 3
"""Of the kills, every so many hits the parent."""

DRIVER = """
import json, sys
from pathlib import Path
import tests_tasks
from thawline import tracking
from thawline.artifacts import Artifacts
from thawline.config.sections import Config
from thawline.search.study.study import open_study
from thawline.search.study.run import run_study
root, search = Path(sys.argv[1]), tests_tasks.random_search(**json.loads(sys.argv[2]))
artifacts = Artifacts.under(root)
tracking.connect("sqlite:///mlflow.db", "thawline", root)
former = open_study(tests_tasks.Bowl(search), artifacts.studies).user_attrs.get("run")
with tracking.run("study", stage="search", parameters={}, tags=tests_tasks.TAGS, again=former) as parent:
    run_study(tests_tasks.recorded_slowly, Config(search=search), artifacts, parent.id, "search")
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def storage(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str | None]:
    monkeypatch.delenv("DVC_ROOT", raising=False)
    with nullcontext() if request.param == "sqlite" else tests_postgresql.server() as address:
        yield address


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_at_random_moments_a_study_comes_to_what_an_undisturbed_one_does(
    tmp_path: Path, storage: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"trials": TRIALS, "workers": 2, "storage": storage, "attempts": 100}
    search = random_search(**settings)
    root = tmp_path / "disturbed"
    root.mkdir()
    study = open_study(tests_tasks.Bowl(search), Artifacts.under(root).studies)
    killed = kill_at_random(root, settings, study)
    assert killed.total() == KILLS
    assert killed["worker"] > killed["parent"] > 0

    # opened afresh: what the database says, nothing remembered
    study = open_study(tests_tasks.Bowl(search), Artifacts.under(root).studies)
    states = Counter(trial.state for trial in study.trials)
    ends = {3: TrialState.PRUNED, 5: TrialState.FAIL}
    assert states == Counter(ends.get(number % 7, TrialState.COMPLETE) for number in range(TRIALS))
    assert sum(trial.user_attrs.get("deaths", 0) for trial in study.trials) > KILLS / 4

    tracking.connect("sqlite:///mlflow.db", "thawline", root)
    check_runs(study)
    assert came_to(study) == came_to(undisturbed(tmp_path / "calm", monkeypatch))


def kill_at_random(root: Path, settings: dict[str, object], study: optuna.Study) -> Counter[str]:
    """Run the study, killing one of its processes whenever a trial has been running for a random while: its
    parent, or a worker that runs a trial, if one still does."""
    chance, killed = random.Random(0), Counter[str]()
    driver = start(root, json.dumps(settings))
    try:
        while killed.total() < KILLS:
            wait_until(lambda: busy(study))
            time.sleep(chance.uniform(0, 1))
            if killed.total() % PARENTS == PARENTS - 1:
                driver.kill()
                driver.wait()
                killed["parent"] += 1
                driver = start(root, json.dumps(settings))
            elif found := busy(study) or workers_of(driver):
                chance.choice(found).kill()
                killed["worker"] += 1
        assert driver.wait(300) == 0
    finally:
        driver.kill()
        driver.wait()
    return killed


def start(root: Path, settings: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", DRIVER, str(root), settings]
    return subprocess.Popen(command, env=tests_tasks.finding_modules())


def workers_of(driver: subprocess.Popen[bytes]) -> list[psutil.Process]:
    found = []
    for process in psutil.Process(driver.pid).children():
        with suppress(psutil.NoSuchProcess):  # killed a moment ago
            if any("spawn_main" in word for word in process.cmdline()):
                found.append(process)
    return found


def busy(study: optuna.Study) -> list[psutil.Process]:
    """The living workers that run a trial: those that are still starting have nothing to lose."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    names = (trial.user_attrs.get("process", "") for trial in trials)
    alive = [name.split()[1] for name in names if name and not is_dead(name)]
    with suppress(psutil.NoSuchProcess):
        return [psutil.Process(int(number)) for number in alive]
    return []


def wait_until(holds, seconds=120.0):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def check_runs(study: optuna.Study) -> None:
    """MLflow has one run per trial that says the same, one parent, and nothing that still runs."""
    open_ = connected()
    runs = open_.client.search_runs([open_.experiment_id], max_results=1000)
    assert all(run.info.status != "RUNNING" for run in runs)
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert parent.data.tags["state"] == "complete"
    settled = {
        run.info.run_id: run.data.tags["state"]
        for run in runs
        if run is not parent and run.data.tags["state"] != "interrupted"
    }
    names = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
    assert len(settled) == TRIALS
    assert settled == {trial.user_attrs["run"]: names[trial.state.name] for trial in counted(study)}
    assert len(runs) > TRIALS + 1, "no attempt was interrupted while it ran"


def undisturbed(root: Path, monkeypatch: pytest.MonkeyPatch) -> optuna.Study:
    root.mkdir()
    monkeypatch.setattr(tests_tasks.Recorded, "seconds", 0.0)
    tracking.connect("sqlite:///mlflow.db", "thawline", root)
    search: Search = random_search(TRIALS)
    with tracking.run("study", stage="search", parameters={}, tags=TAGS) as parent:
        return run_study(
            tests_tasks.recorded, Config(search=search), Artifacts.under(root), parent.id, "calm"
        )


def came_to(study: optuna.Study) -> list[tuple[object, ...]]:
    return [
        (trial.number, trial.state, trial.params, trial.values, trial.user_attrs.get("reason"))
        for trial in counted(study)
    ]
