"""Studies of cheap objectives, importable by name from every worker."""

import multiprocessing
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.trial import Trial

from thawline import tracking
from thawline.artifacts import Artifacts
from thawline.config.choices import PrunerName, SamplerName
from thawline.config.errors import UserError
from thawline.config.sections import Config, Search
from thawline.search.study.study import report
from thawline.search.study.time_limit import time_is_up
from thawline.search.task import Slot

TAGS = {"seed": 0, "data_fingerprint": "1f2e"}


def finding_modules() -> dict[str, str]:
    """The environment of a process that imports what this one can, this module for one."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def random_search(trials: int = 6, **changes: Any) -> Search:
    """A search whose trials depend on their number alone."""
    settings = {"sampler": SamplerName.random, "pruner": PrunerName.none} | changes
    return Search(trials=trials, **settings)


@dataclass
class Bowl:
    """Find the lowest point of a bowl: the configured trial first, then what the sampler proposes."""

    search: Search
    name: str = "bowl"
    decisive: dict[str, Any] = field(default_factory=lambda: {"space": {"low": 0.0, "high": 1.0}})
    directions: list[str] = field(default_factory=lambda: ["maximize"])
    steps: int = 3
    seed: int = 0

    def slot(self, index: int) -> Slot | None:
        if index >= self.search.trials:
            return None
        return Slot({"x": 0.5}, {"known": "configured"}) if index == 0 else Slot()

    def value(self, trial: Trial) -> float:
        x, y = trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1)
        return -((x - 0.3) ** 2) - (y - 0.6) ** 2

    def objective(self, trial: Trial, _: str) -> float | tuple[float, ...]:
        return self.value(trial)


class Recorded(Bowl):
    """Each trial takes a while and is a run in MLflow; some are pruned, some fail."""

    seconds = 0.3

    def objective(self, trial: Trial, parent: str) -> float:
        with tracking.run(
            f"trial {trial.number}",
            stage="search",
            parameters={},
            tags=TAGS,
            parent=parent,
            study=trial.study.study_name,
        ) as run:
            trial.set_user_attr("run", run.id)
            value = self.value(trial)
            for step in range(self.steps):
                time.sleep(self.seconds / self.steps)
                report(trial, value, step)
                if trial.number % 7 == 3 or time_is_up(trial.study):
                    run.end("pruned", "hopeless")
                    raise optuna.TrialPruned("hopeless")
            if trial.number % 7 == 5:
                raise UserError("the loss is not a number\nlower the rates")
            run.log_metrics({"val_accuracy": value})
        return value


class RecordedSlowly(Recorded):
    seconds = 1.0


class Varied(Bowl):
    """Some trials are pruned and some fail, and the first worker process that runs trial 1 is killed."""

    def objective(self, trial: Trial, _: str) -> float:
        value = self.value(trial)
        if trial.number == 1 and multiprocessing.parent_process() and "deaths" not in trial.user_attrs:
            os.kill(os.getpid(), signal.SIGKILL)
        if trial.number == 3:
            raise optuna.TrialPruned("hopeless")
        if trial.number == 5:
            raise UserError("the loss is not a number\nlower the rates")
        return value


class Slow(Bowl):
    """Trials that take long enough to be interrupted."""

    def objective(self, trial: Trial, _: str) -> float:
        time.sleep(1.0)
        return self.value(trial)


class Deadly(Bowl):
    """Whichever process runs trial 1 is killed."""

    def objective(self, trial: Trial, _: str) -> float:
        if trial.number == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.value(trial)


class Broken(Bowl):
    def objective(self, *_: object) -> float:
        # more than a pipe holds until somebody reads it
        raise ZeroDivisionError("a defect") from ValueError("long " * 50_000)


def bowl(config: Config, artifacts: Artifacts) -> Bowl:
    return Bowl(config.search)


def recorded(config: Config, artifacts: Artifacts) -> Bowl:
    return Recorded(config.search)


def recorded_slowly(config: Config, artifacts: Artifacts) -> Bowl:
    return RecordedSlowly(config.search)


def varied(config: Config, artifacts: Artifacts) -> Bowl:
    return Varied(config.search)


def slow(config: Config, artifacts: Artifacts) -> Bowl:
    return Slow(config.search)


def deadly(config: Config, artifacts: Artifacts) -> Bowl:
    return Deadly(config.search)


def broken(config: Config, artifacts: Artifacts) -> Bowl:
    return Broken(config.search)


def killed_at_birth(config: Config, artifacts: Artifacts) -> Bowl:
    """The parent makes the task, no worker does."""
    if config.trainer.threads:
        os.kill(os.getpid(), signal.SIGKILL)
    return Bowl(config.search)


def misnamed(config: Config, artifacts: Artifacts) -> Bowl:
    """Breaks the promise that the name does not depend on a worker's share of the threads."""
    return Bowl(config.search, name=f"bowl of {config.trainer.threads}")
