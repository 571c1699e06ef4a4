"""How sure the metrics are: the interval of each contender's and of the difference of two.

Two things are random: which pictures are in the test split, and which seeds were fine-tuned. Which other
training pictures there might have been is in no interval.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from thawline.evaluation.metrics import METRICS, Contributions, calibration_noise, imbalance, linearised
from thawline.statistics.intervals import (
    Interval,
    accuracy_interval,
    calibration_interval,
    loss_interval,
    named,
    share_interval,
)
from thawline.statistics.paired import difference_interval

Results = Mapping[str, dict[str, float]]
"""For each metric its `mean` over seeds and the ends `low` and `high` of its interval."""


@dataclass(frozen=True, eq=False)
class Compared:
    """The models of one contender, one for each of S seeds, asked about the same N pictures.

    `values` (5, S, N): what each picture adds to each metric, as of `linearised`.
    """

    values: np.ndarray
    models: Sequence[Contributions]

    @classmethod
    def of(cls, models: Sequence[Contributions]) -> "Compared":
        """Linearise the metrics of `models`."""
        return cls(np.stack([linearised(model) for model in models], axis=1), models)


def intervals(contender: Compared, clusters: np.ndarray, confidence: float) -> Results:
    """Return the metrics of one contender with their intervals.

    Args:
        clusters: (N,) numbers 0..G-1, equal for pictures that are not independent.
        confidence: coverage of every interval, in 0..1.
    """
    values, models = contender.values, contender.models
    accuracy, balanced, f1, loss, error = values
    correct = accuracy.round(6)
    uneven = imbalance(models[0])
    noise = float(np.mean([calibration_noise(model) for model in models]))
    ends = [
        accuracy_interval(correct, confidence, clusters),
        share_interval(balanced, correct, clusters, confidence, uneven),
        share_interval(f1, correct, clusters, confidence, uneven),
        loss_interval(loss, clusters, _guess(models[0]), confidence),
        calibration_interval(float(error.mean()), noise, error, clusters, confidence),
    ]
    return _named(values.mean((1, 2)), ends)


def difference_intervals(
    first: Compared, second: Compared, clusters: np.ndarray, confidence: float
) -> Results:
    """Return the metrics of `first` minus those of `second`, paired by picture, with their intervals: 0 and
    nothing else where both are the same models, which differ on no other pictures either."""
    if np.array_equal(first.values, second.values):
        return _named(np.zeros(len(METRICS)), [(0.0, 0.0)] * len(METRICS))
    guess = _guess(first.models[0])
    ends = [
        difference_interval(
            ours, theirs, clusters, confidence, *((guess, math.inf) if name == "log_loss" else (1.0, 1.0))
        )
        for name, ours, theirs in zip(METRICS, first.values, second.values, strict=True)
    ]
    return _named(first.values.mean((1, 2)) - second.values.mean((1, 2)), ends)


def _guess(model: Contributions) -> float:
    """Return the log-loss of an answer that knows nothing, in nats; of one class as of two."""
    return math.log(max(2, model.classes))


def _named(means: np.ndarray, ends: Sequence[Interval]) -> Results:
    return {name: named(mean, each) for name, mean, each in zip(METRICS, means, ends, strict=True)}
