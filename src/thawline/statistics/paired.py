"""The difference of two results on the same pictures: what is hard for both cancels.

Seeds are not paired: seed 1 of one recipe has nothing in common with seed 1 of another.
"""

import math

import numpy as np

from thawline.statistics.intervals import Interval
from thawline.statistics.variance import quantile, spread_of, widening

DISAGREEING = 2
"""Clusters that are supposed to have been seen besides, on which the two disagree wholly, one for each: two
that never disagree on 50 pictures may do so on the next (Bonett and Price 2012, Adjusted Wald confidence
interval for a difference of binomial proportions based on paired data)."""


def difference_interval(
    first: np.ndarray,
    second: np.ndarray,
    clusters: np.ndarray,
    confidence: float,
    scale: float = 1.0,
    limit: float = 1.0,
) -> Interval:
    """Return the ends of the interval of the mean of `first` minus that of `second`; never of zero width.

    Args:
        first, second: (S, N) and (T, N), of S and T seeds on the same N pictures.
        clusters: (N,) numbers 0..G-1, equal for pictures that are not independent.
        scale: by how much the two differ where one is sure and right and the other is not: 1 for shares.
        limit: the largest difference that is possible: 1 for shares, infinity for losses.
    """
    mean = float(first.mean() - second.mean())
    together = spread_of((first.mean(0) - second.mean(0))[None], clusters)
    supposed = DISAGREEING * (scale / together.clusters) ** 2
    pictures = (together.pictures + supposed) * widening(together.clusters - 1, confidence)
    seeds = sum(spread_of(values, clusters).of_seeds(confidence) for values in (first, second))
    half = quantile(confidence) * math.sqrt(pictures + seeds)
    return max(-limit, mean - half), min(limit, mean + half)
