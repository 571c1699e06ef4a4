"""Workers claim, settle, die, come back to life and are interrupted, in any order."""

from pathlib import Path

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.trial import Trial
from tests_processes import Processes
from tests_tasks import Bowl, random_search

from thawline.config.errors import UserError
from thawline.search.study.ask_and_tell import claim, settle
from thawline.search.study.study import counted, open_study, places
from thawline.search.study.workers import work


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("studies") / "studies.db"


actions = st.sampled_from(["claim", "complete", "prune", "fail", "die", "rise", "interrupt"])


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(schedule=st.lists(st.tuples(st.integers(0, 2), actions), max_size=25), total=st.integers(1, 5))
def test_whatever_happens_each_place_is_settled_exactly_once(
    schedule: list[tuple[int, str]], total: int, database: Path, request: pytest.FixtureRequest
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        processes = Processes(patch)
        _EXAMPLES.append(total)
        task = Bowl(random_search(total, attempts=100), name=f"{request.node.name} {len(_EXAMPLES)}")
        study = open_study(task, database)
        crew = Crew(study, task, processes)
        for worker, action in schedule:
            crew.act(worker, action)
            held = [trial.user_attrs["place"] for trial in places(study)]
            assert held == list(range(len(held))), "a place is missing or there twice"
        # whoever still has a trial is killed, then one calm worker finishes
        processes.dead |= crew.has.keys()
        processes.acting = "the last"
        settled_before = {trial.number: trial.values for trial in counted(study)}
        work(task, study, "")
        assert [trial.user_attrs["place"] for trial in counted(study)] == list(range(total))
        assert len(study.trials) == total
        assert settled_before.items() <= {trial.number: trial.values for trial in counted(study)}.items()


_EXAMPLES: list[int] = []


class Crew:
    """Workers that claim and settle; some die, and some of those were only thought dead."""

    def __init__(self, study: optuna.Study, task: Bowl, processes: Processes) -> None:
        self.study, self.task, self.processes = study, task, processes
        self.names = ["a", "b", "c"]
        self.has: dict[str, Trial] = {}
        self.ghosts: list[tuple[str, Trial]] = []

    def act(self, worker: int, action: str) -> None:
        """The worker does `action`, if it can: claim without a trial, anything else with one."""
        self.processes.acting = self.names[worker]
        if action == "rise":
            self.rise()
        elif action == "claim" and self.names[worker] not in self.has:
            trial = claim(self.study, self.task)
            self.has |= {} if trial is None else {self.names[worker]: trial}
        elif action != "claim" and self.names[worker] in self.has:
            self.end(worker, self.has.pop(self.names[worker]), action)

    def end(self, worker: int, trial: Trial, action: str) -> None:
        if action == "die":
            self.ghosts.append((self.names[worker], trial))
            self.processes.dies()
            self.names[worker] = self.processes.acting
        else:
            settle_as(self.study, self.task, trial, action)

    def rise(self) -> None:
        if self.ghosts:
            self.processes.acting, trial = self.ghosts.pop()
            settle_as(self.study, self.task, trial, "complete")


def settle_as(study: optuna.Study, task: Bowl, trial: Trial, action: str) -> None:
    errors = {"prune": optuna.TrialPruned("x"), "fail": UserError("x"), "interrupt": KeyboardInterrupt()}

    def objective(trial: Trial, parent: str) -> float:
        value = task.value(trial)
        if action in errors:
            raise errors[action]
        return value

    task.objective, former = objective, task.objective  # type: ignore[method-assign]
    try:
        settle(study, task, trial, "")
    except KeyboardInterrupt:
        assert action == "interrupt"
    finally:
        task.objective = former  # type: ignore[method-assign]
