"""What one training may use: told early, and not by what only its beginning takes."""

from types import SimpleNamespace
from typing import Any

import optuna
import pytest

from thawline.config.sections import Limit
from thawline.search.task import LimitExceededError
from thawline.search.trial.limits import Limits, whole_time


def test_the_first_epoch_and_what_precedes_it_are_counted_once() -> None:
    assert whole_time([60.0, 62.0], 30) == 60 + 29 * 2
    assert whole_time([60.0, 62.0, 66.0], 30) == 60 + 29 * 3


def test_a_training_that_is_over_took_what_it_took() -> None:
    assert whole_time([7.0], 1) == 7
    assert whole_time([7.0, 9.0], 2) == 9


def test_what_is_stored_once_in_a_later_phase_is_not_expected_in_every_epoch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # two epochs of a second each, ten seconds to store what the next phase reads, then a second each
    now = iter([0.0, 1.0, 2.0, 13.0])
    monkeypatch.setattr("thawline.search.trial.limits.time.monotonic", lambda: next(now))
    limits = Limits(Limit(seconds=40.0), optuna.create_study().ask())
    training: Any = SimpleNamespace(epochs=30, trainable_parameters=lambda: 1, seconds_storing=0.0)
    limits.before(training)
    for epoch, storing in enumerate((0.0, 0.0, 10.0)):
        training.seconds_storing = storing
        limits.after_epoch({"epoch": float(epoch)})


@pytest.mark.parametrize(("limit", "fits"), [(118.0, True), (117.0, False)])
def test_a_slow_beginning_alone_exceeds_no_limit(
    limit: float, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter([100.0, *(160.0 + 2 * epoch for epoch in range(30))])
    monkeypatch.setattr("thawline.search.trial.limits.time.monotonic", lambda: next(now))
    trial = optuna.create_study().ask()
    limits = Limits(Limit(seconds=limit), trial)
    training: Any = SimpleNamespace(epochs=30, trainable_parameters=lambda: 1, seconds_storing=0.0)
    limits.before(training)
    limits.after_epoch({"epoch": 0.0})
    if fits:
        for epoch in range(1, 30):
            limits.after_epoch({"epoch": float(epoch)})
        return
    with pytest.raises(LimitExceededError, match=r"would train for 118 seconds, .*seconds = 117") as exceeded:
        limits.after_epoch({"epoch": 1.0})
    assert (exceeded.value.name, exceeded.value.excess) == ("seconds", 1.0)
