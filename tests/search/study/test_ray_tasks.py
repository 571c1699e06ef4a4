"""Workers placed by Ray; a study there survives the loss of a machine."""

import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
import tests_postgresql
import tests_tasks
from optuna.trial import TrialState
from tests_tasks import random_search

from thawline import tracking
from thawline.artifacts import Artifacts
from thawline.config.choices import Engine
from thawline.config.errors import UserError
from thawline.config.sections import Config
from thawline.search.study import ray_tasks
from thawline.search.study.run import run_study
from thawline.search.study.study import counted, open_study
from thawline.tracking.connection import connected


@pytest.fixture(autouse=True)
def _no_temporary_experiment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DVC_ROOT", raising=False)


def test_without_ray_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    config = Config(search=random_search(engine=Engine.ray))
    with pytest.raises(UserError, match=r"pip install 'thawline\[ray\]'.*search\.engine=local"):
        run_study(tests_tasks.bowl, config, Artifacts.under(tmp_path), "", "search")


def cluster(*names: str) -> SimpleNamespace:
    nodes = [{"NodeManagerHostname": name, "Alive": True} for name in names]
    dead = {"NodeManagerHostname": "gone", "Alive": False}
    return SimpleNamespace(nodes=lambda: [*nodes, dead])


def test_a_file_is_refused_as_the_database_of_several_machines(tmp_path: Path) -> None:
    study = open_study(tests_tasks.Bowl(random_search()), tmp_path / "s.db")
    ray_tasks._refuse_file(cluster("here", "here"), study)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"several machines \(here, there\).*\n.*search\.storage=postgresql"):
        ray_tasks._refuse_file(cluster("there", "here"), study)  # type: ignore[arg-type]


DRIVER = """
import contextlib, os, signal, sys, threading, time
from pathlib import Path
import psutil
os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_AUTH_MODE="disabled")
# beside other tests Ray's workers, which it starts 15 steps nicer, would hardly run; a lost machine is
# noticed after five missed signs of life
os.environ.update(RAY_worker_niceness="0", RAY_prestart_worker_first_driver="0")
os.environ.update(RAY_health_check_period_ms="1000")
import tests_tasks
from ray.cluster_utils import Cluster
from thawline import tracking
from thawline.artifacts import Artifacts
from thawline.config.choices import Engine
from thawline.config.sections import Config, Trainer
from thawline.search.study.study import counted, open_study
from thawline.search.study.run import run_study
from optuna.trial import TrialState

root, storage = Path(sys.argv[1]), sys.argv[2]
machines = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
other = machines.add_node(num_cpus=1)
machines.wait_for_nodes()
search = tests_tasks.random_search(
    16, workers=2, storage=storage, engine=Engine.ray, address=machines.address
)
artifacts = Artifacts.under(root)
study = open_study(tests_tasks.Bowl(search), artifacts.studies)

raylet = other.all_processes["raylet"][0].process.pid

def trials_of(process):
    running = [t for t in study.trials if t.state is TrialState.RUNNING]
    return [t for t in running if t.user_attrs.get("process", "").split()[1:2] == [str(process.pid)]]

def held_in_a_trial():
    "A worker of the other machine, halted while it has a trial, which hence cannot end before the loss."
    for process in psutil.Process(raylet).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if trials_of(process):
                process.suspend()
                if trials_of(process):
                    return process
                process.resume()
    return None

def lose_a_machine():
    while len(counted(study)) < 3:
        time.sleep(0.1)
    while (worker := held_in_a_trial()) is None:
        time.sleep(0.01)
    os.kill(raylet, signal.SIGKILL)
    worker.kill()
    machines.remove_node(other, allow_graceful=False)
    print("lost a machine", flush=True)

threading.Thread(target=lose_a_machine, daemon=True).start()
tracking.connect("sqlite:///mlflow.db", "thawline", root)
config = Config(search=search, trainer=Trainer(threads=1))
with tracking.run("study", stage="search", parameters={}, tags=tests_tasks.TAGS) as parent:
    run_study(tests_tasks.recorded_slowly, config, artifacts, parent.id, "search")
machines.shutdown()
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_study_on_two_machines_survives_the_loss_of_one(tmp_path: Path) -> None:
    with tests_postgresql.server() as address:
        command = [sys.executable, "-c", DRIVER, str(tmp_path), address]
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            text=True,
            timeout=500,
            check=True,
            env=tests_tasks.finding_modules(),
        )
        assert "lost a machine" in done.stdout
        study = open_study(tests_tasks.Bowl(random_search(16, storage=address)), tmp_path / "unused")
        assert [trial.number for trial in counted(study)] == list(range(16))
        assert Counter(trial.state for trial in study.trials) == {
            TrialState.COMPLETE: 12,
            TrialState.PRUNED: 2,
            TrialState.FAIL: 2,
        }
        # of the lost machine, whose worker may have had no other trial
        assert sum(trial.user_attrs.get("deaths", 0) for trial in study.trials) == 1
        tracking.connect("sqlite:///mlflow.db", "thawline", tmp_path)
        open_ = connected()
        runs = open_.client.search_runs([open_.experiment_id], "tags.study = 'bowl'")
        names = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
        states = {run.info.run_id: run.data.tags["state"] for run in runs}
        assert {run: state for run, state in states.items() if state != "interrupted"} == {
            trial.user_attrs["run"]: names[trial.state.name] for trial in counted(study)
        }
