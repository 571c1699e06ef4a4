"""Limits on what one training of a trial may use: it is ended as soon as it is known to need more."""

import time
from collections.abc import Sequence

import optuna

from thawline.config.sections import Limit
from thawline.search.task import LimitExceededError
from thawline.search.trial.outcomes import mean_history
from thawline.search.trial.validation import Observer
from thawline.training.cost import peak_memory
from thawline.training.history import Row
from thawline.training.run import Training

MEBIBYTE = 2**20

LEAST_EPOCHS = 2
"""Epochs after which the time of a training can be told: the first one is slower than the others."""


def whole_time(ends: Sequence[float], planned: int) -> float:
    """Return the seconds that a training of so many `planned` epochs takes in all, from the seconds after
    which its first epochs ended. Where the whole is not known yet, the first one, which bears the
    preparations too, is no measure of the others: at least two are needed."""
    done, elapsed = len(ends), ends[-1]
    if done >= planned:
        return elapsed
    return elapsed + (planned - done) * (elapsed - ends[0]) / (done - 1)


class Limits(Observer):
    """Keeps the rows of a trial's trainings and prunes the trial when one of them exceeds `limit`.

    The number of parameters that learn is stored as the user attribute `trainable_parameters` of the trial.
    Each method that looks on raises `LimitExceededError`.
    """

    def __init__(self, limit: Limit, trial: optuna.Trial) -> None:
        self.limit, self.trial = limit, trial
        self._done: list[list[Row]] = []
        self._rows: list[Row] = []
        self._training: Training | None = None
        self._started = 0.0
        self._ends: list[float] = []

    @property
    def history(self) -> list[Row]:
        """The mean row of each epoch over the folds that came so far."""
        return mean_history([*self._done, *([self._rows] if self._rows else [])])

    def before(self, training: Training) -> None:
        self._training, self._rows, self._ends, self._started = training, [], [], time.monotonic()
        count = training.trainable_parameters()
        self.trial.set_user_attr("trainable_parameters", count)
        _require("parameters", count, self.limit.parameters, f"would train {count:,} parameters")

    def after_epoch(self, row: Row) -> None:
        assert self._training is not None
        self._rows.append(row)
        # what is computed once is not done again in the epochs to come
        once = self._training.seconds_storing
        self._ends.append(time.monotonic() - self._started - once)
        planned = self._training.epochs
        if len(self._rows) >= min(LEAST_EPOCHS, planned):
            seconds = whole_time(self._ends, planned) + once
            _require("seconds", seconds, self.limit.seconds, f"would train for {seconds:,.0f} seconds")
        if self.limit.memory is not None:
            used = peak_memory(self._training.device) / MEBIBYTE
            _require("memory", used, self.limit.memory, f"used {used:,.0f} MiB of memory")

    def after(self, epochs: list[Row]) -> None:
        self._done.append(epochs)
        self._rows = []


def _require(name: str, value: float, limit: float | None, said: str) -> None:
    """Prune the trial if `value` is above `limit`."""
    if limit is not None and value > limit:
        raise LimitExceededError(f"{said}, search.limit.{name} = {limit:.10g}", name, value - limit)
