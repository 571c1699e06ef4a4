"""Workers ask, tell, die, come back to life and are interrupted, in any order."""

from pathlib import Path

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.trial import Trial
from tests_processes import Processes
from tests_tasks import Bowl, random_search

from thawline.config.errors import UserError
from thawline.search.study.engine import ask, run_and_tell, run_trials
from thawline.search.study.recovery import give_back
from thawline.search.study.study import SharedStudy, counted, open_study


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("studies") / "studies.db"


actions = st.sampled_from(["ask", "complete", "prune", "fail", "die", "rise", "interrupt"])


@pytest.mark.slow
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(schedule=st.lists(st.tuples(st.integers(0, 2), actions), max_size=20), total=st.integers(1, 5))
def test_whatever_happens_each_place_is_counted_exactly_once(
    schedule: list[tuple[int, str]], total: int, database: Path, request: pytest.FixtureRequest
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        processes = Processes(patch)
        _EXAMPLES.append(total)
        task = Bowl(random_search(total, attempts=100), name=f"{request.node.name} {len(_EXAMPLES)}")
        study = open_study(task, database)
        workers = Workers(study, task, processes)
        for worker, action in schedule:
            workers.act(worker, action)
            assert len(study.trials) <= total
        # whoever still has a trial is killed, then one calm worker finishes
        processes.dead |= workers.has.keys()
        processes.acting = "the last"
        told_before = {trial.number: trial.values for trial in counted(study)}
        run_trials(task, study, "")
        assert [trial.number for trial in counted(study)] == list(range(total))
        assert len(study.trials) == total
        assert told_before.items() <= {trial.number: trial.values for trial in counted(study)}.items()


_EXAMPLES: list[int] = []


class Workers:
    """Workers that ask and tell; some die, and some of those were only thought dead."""

    def __init__(self, study: SharedStudy, task: Bowl, processes: Processes) -> None:
        self.study, self.task, self.processes = study, task, processes
        self.names = ["a", "b", "c"]
        self.has: dict[str, Trial] = {}
        self.ghosts: list[tuple[str, Trial]] = []

    def act(self, worker: int, action: str) -> None:
        """The worker does `action`, if it can: ask without a trial, anything else with one."""
        self.processes.acting = self.names[worker]
        if action == "rise":
            self.rise()
        elif action == "ask" and self.names[worker] not in self.has:
            trial = ask(self.study, self.task)
            self.has |= {} if trial is None else {self.names[worker]: trial}
        elif action != "ask" and self.names[worker] in self.has:
            self.end(worker, self.has.pop(self.names[worker]), action)

    def end(self, worker: int, trial: Trial, action: str) -> None:
        if action == "die":
            self.ghosts.append((self.names[worker], trial))
            self.processes.dies()
            self.names[worker] = self.processes.acting
        else:
            tell_as(self.study, self.task, trial, action, self.names[worker])

    def rise(self) -> None:
        if self.ghosts:
            self.processes.acting, trial = self.ghosts.pop()
            tell_as(self.study, self.task, trial, "complete", "")


def tell_as(study: SharedStudy, task: Bowl, trial: Trial, action: str, process: str) -> None:
    errors = {"prune": optuna.TrialPruned("x"), "fail": UserError("x"), "interrupt": KeyboardInterrupt()}

    def objective(trial: Trial, parent: str) -> float:
        value = task.value(trial)
        if action in errors:
            raise errors[action]
        return value

    task.objective, former = objective, task.objective  # type: ignore[method-assign]
    try:
        run_and_tell(study, task, trial, "")
    except KeyboardInterrupt:
        assert action == "interrupt"
        give_back(study, {process})
    finally:
        task.objective = former  # type: ignore[method-assign]
