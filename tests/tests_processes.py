"""Several workers played by one process."""

import pytest
from optuna.trial import Trial
from tests_tasks import Bowl

from thawline.search.study import engine, recovery
from thawline.search.study.study import SharedStudy


class Processes:
    """Which worker acts, and which ones are dead."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.acting, self.dead = "worker 0", set[str]()
        patch.setattr(engine, "this_process", lambda: self.acting)
        patch.setattr(recovery, "is_dead", lambda process: process in self.dead)
        patch.setattr(recovery, "is_elsewhere", lambda process: process.startswith("elsewhere"))

    def dies(self) -> None:
        """The one that acts; another takes its place."""
        self.dead.add(self.acting)
        self.acting += "'"


def asked(study: SharedStudy, task: Bowl) -> Trial:
    trial = engine.ask(study, task)
    assert trial is not None
    return trial


def recovered(study: SharedStudy, task: Bowl) -> list[int]:
    with study.alone():
        return recovery.recover(study, task.search)
