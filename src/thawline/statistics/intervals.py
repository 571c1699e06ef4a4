"""Intervals of what one recipe reached: never of zero width, never outside the range of what they are of.

A share is given the exact binomial interval of as many independent answers as vary like those there are (the
effective sample size of Korn and Graubard 1998, Confidence intervals for proportions with small expected
number of positive counts estimated from survey data), because percentiles of resamples have no width where
every picture is right, and too little near there. docs/search.md shows by simulation how often each interval
here holds the truth.

No interval here holds how results vary with other training pictures.
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import betaincinv, gammaincinv

from thawline.statistics.bootstrap import clusters_of
from thawline.statistics.variance import cluster_sums, spread_of, widening

Interval = tuple[float, float]

SUPPOSED = 4
"""Clusters that are supposed to have been seen, besides those with a wrong answer, whose pictures were all
right or all wrong together: a few wrong answers cannot say how alike the pictures of a group are."""


def accuracy_interval(
    correct: np.ndarray, confidence: float = 0.95, groups: Sequence[object] | np.ndarray | None = None
) -> Interval:
    """Return the ends of the interval of an accuracy, in 0..1.

    Of one seed it is the accuracy of that model on other pictures; of several, the mean accuracy of the
    recipe over other seeds and other pictures.

    Args:
        correct: (S, N) 1 where the model of a seed is right on a picture and 0 where it is wrong, or any
            number between.
        confidence: how often the interval is to hold the truth, in 0..1.
        groups: (N,) pictures with equal values are not independent. None: every picture on its own.

    Raises ValueError unless there is a seed and a picture, all values lie in 0..1 and there are N groups.
    """
    correct = np.asarray(correct, np.float64)
    if correct.ndim != 2 or not correct.size:
        raise ValueError(f"(seeds, pictures) are needed, at least one of each; not {correct.shape}")
    if not ((correct >= 0) & (correct <= 1)).all():
        raise ValueError("whether a seed is right on a picture is a number in 0..1")
    if groups is not None and len(groups) != correct.shape[1]:
        raise ValueError(f"{len(groups)} groups were given for {correct.shape[1]} pictures")
    return share_interval(correct, correct, clusters_of(correct.shape[1], groups), confidence)


def share_interval(
    values: np.ndarray, correct: np.ndarray, clusters: np.ndarray, confidence: float, imbalance: float = 1.0
) -> Interval:
    """Return the ends of the interval of a share, the mean of `values`, in 0..1.

    Args:
        values: (S, N) of which the share is the mean: the answers themselves, or what each adds.
        correct: (S, N) which answers are right, as of `accuracy_interval`.
        clusters: (N,) numbers 0..G-1.
        imbalance: how many times as much the share would vary as an accuracy does, were all classes equally
            hard; 1 for an accuracy.
    """
    mean, spread = min(1.0, max(0.0, float(values.mean()))), spread_of(values, clusters)
    one = mean * (1 - mean)
    answers = imbalance / values.size
    together = imbalance * float((np.bincount(clusters) ** 2).sum()) / len(clusters) ** 2
    if one < 1e-12:
        return proportion_interval(mean, 1 / together, confidence)
    seen = _telling(correct, clusters)
    blended = (seen * max(answers, spread.pictures / one) + SUPPOSED * together) / (seen + SUPPOSED)
    # how alike the pictures of a cluster are is estimated; how much independent answers vary is known
    pictures = answers + (blended - answers) * widening(spread.clusters - 1, confidence)
    return proportion_interval(mean, 1 / (pictures + spread.of_seeds(confidence) / one), confidence)


def _telling(correct: np.ndarray, clusters: np.ndarray) -> int:
    """Count the clusters with a wrong answer, or those with a right one if they are fewer."""
    wrong, right = cluster_sums(np.stack([(correct < 1).any(0), (correct > 0).any(0)]), clusters) > 0
    return int(min(wrong.sum(), right.sum()))


def proportion_interval(mean: float, answers: float, confidence: float) -> Interval:
    """Return the exact interval of a share of so many independent `answers`, a whole number or not.

    Clopper and Pearson 1934, The use of confidence or fiducial limits illustrated in the case of the
    binomial.
    """
    tail, right = (1 - confidence) / 2, answers * mean
    wrong = answers - right
    low = float(betaincinv(right, wrong + 1, tail)) if right > 1e-9 else 0.0
    high = float(betaincinv(right + 1, wrong, 1 - tail)) if wrong > 1e-9 else 1.0
    return low, high


def resampled_share_interval(mean: float, draws: np.ndarray, clusters: int, confidence: float) -> Interval:
    """Return the ends of the interval of a share `mean` of which `draws` (R,) are resamples.

    Where the resamples do not vary, it is that of `clusters` independent pictures.
    """
    variance, spread = mean * (1 - mean), float(draws.var())
    varies = spread > 1e-12 and variance > 0
    return proportion_interval(mean, variance / spread if varies else clusters, confidence)


def loss_interval(values: np.ndarray, clusters: np.ndarray, guess: float, confidence: float) -> Interval:
    """Return the ends of the interval of a mean loss, which is at least 0 and in the mean of few pictures too
    low, because the rare large losses are missing.

    The gamma interval: its upper end supposes one more picture with the largest loss seen, at least that of a
    guess (Fay and Feuer 1997, Confidence intervals for directly standardized rates).

    Args:
        values: (S, N) losses.
        clusters: (N,) numbers 0..G-1.
        guess: the loss of an answer that knows nothing, in the unit of the losses; above 0.
    """
    tail, mean, spread = (1 - confidence) / 2, float(values.mean()), spread_of(values, clusters)
    variance = spread.of_pictures(confidence) + spread.of_seeds(confidence)
    sizes = np.bincount(clusters)
    largest = max(float(cluster_sums(values, clusters).mean(0).max()), guess * sizes.max()) / len(clusters)
    low = _gamma_quantile(mean, variance, tail)
    return low, _gamma_quantile(mean + largest, variance + largest**2, 1 - tail)


def _gamma_quantile(mean: float, variance: float, share: float) -> float:
    if variance <= 1e-15 or mean <= 0:
        return max(0.0, mean)
    return float(gammaincinv(mean**2 / variance, share)) * variance / mean


def calibration_interval(
    error: float, noise: float, values: np.ndarray, clusters: np.ndarray, confidence: float
) -> Interval:
    """Return the ends of the interval of a calibration error, in 0..1.

    The error is a sum of absolute values, to which chance only adds. So the lower end takes `noise` off, the
    error that a perfectly calibrated model would be expected to show on these pictures.

    Args:
        error: as measured.
        noise: in the unit of the error.
        values: (S, N) what each picture adds to it.
        clusters: (N,) numbers 0..G-1.
    """
    spread = spread_of(values, clusters)
    half = spread.half(confidence, more=1 / spread.clusters**2)
    return max(0.0, error - noise - half), min(1.0, error + half)


def named(mean: float, ends: Interval) -> dict[str, float]:
    """Return `mean`, `low` and `high`, to 6 decimals, so that the last bits of a sum do not change files."""
    values = {"mean": mean, "low": ends[0], "high": ends[1]}
    # + 0.0 turns -0.0 into 0.0
    return {name: round(float(value), 6) + 0.0 for name, value in values.items()}
