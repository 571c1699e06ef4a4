"""The interface of a study to its workers, whatever its trials do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import optuna

from thawline.config.search import Search

RATES = "rates"
"""User attribute of a trial of a depth curve: which of its depth's trials it is, from 0. Its proposals are
drawn from this, not from its number, so that equal `rates` mean equal learning rates at every depth."""


@dataclass(frozen=True)
class Slot:
    """One place in a study, which is the number of its trial: what that must try, and what is known of it.

    `params` are parameters the sampler has no say in; `attrs` become user attributes of the trial.
    """

    params: Mapping[str, Any] = field(default_factory=dict)
    attrs: Mapping[str, Any] = field(default_factory=dict)


class LimitExceededError(optuna.TrialPruned):
    """The trial needs `excess` more than the limit `name` allows, which samplers learn from."""

    def __init__(self, message: str, name: str, excess: float) -> None:
        super().__init__(message)
        self.name, self.excess = name, excess


class Task(Protocol):
    """A study that workers can run. Every worker makes its own from the configuration and artifacts."""

    search: Search

    @property
    def name(self) -> str:
        """The study's name. Like `decisive`, it must not depend on `trainer.threads`, `search.workers` or
        any other setting that only says where trials run: each worker is given a share of the threads."""

    @property
    def decisive(self) -> dict[str, Any]:
        """All that decides the trials (nested, JSON-like). A study goes on only where it is equal."""

    @property
    def directions(self) -> list[str]:
        """`maximize` or `minimize`, one for each objective."""

    @property
    def seed(self) -> int:
        """Decides, with a trial's number, what the sampler proposes."""

    @property
    def steps(self) -> int:
        """The number of reports a trial makes; 0: none."""

    def slot(self, index: int) -> Slot | None:
        """Return the place of the trial with the number `index` (from 0); None where there are fewer."""

    def objective(self, trial: optuna.Trial, parent: str) -> float | tuple[float, ...]:
        """Run one trial; `parent` is the id of the study's run in MLflow.

        It opens the trial's run with `tracking.run(..., study=trial.study.study_name)`, stores the run's id
        at once as the user attribute `run`, and ends the run before it returns or raises. It reports with
        `thawline.search.study.study.report`, and after each report stops where
        `thawline.search.study.time_limit.time_is_up(trial.study)` says so.

        Raises `optuna.TrialPruned` (`LimitExceededError` where it needs more than it may use), or `UserError`
        where the trial failed for a reason of its own; anything else is an interruption, after which the
        trial is run again.
        """
