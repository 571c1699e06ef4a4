"""How an average over images and seeds varies: the draws behind every bootstrap interval.

Two things are random: which images were held out, and which seeds were fine-tuned. Both are resampled
(the crossed design of Owen 2007, The pigeonhole bootstrap).
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.special import ndtri

CHUNK = 250
"""Resamples computed at once: bounds memory to this many numbers per image."""


def clusters_of(images: int, groups: Sequence[object] | np.ndarray | None) -> np.ndarray:
    """(N,) numbers 0..G-1, equal where `groups` are equal; every image its own where that is None."""
    return np.unique(np.arange(images) if groups is None else np.asarray(groups), return_inverse=True)[1]


def image_weights(generator: np.random.Generator, clusters: np.ndarray, resamples: int) -> np.ndarray:
    """(N, resamples): how often each image is drawn when its cluster (0..G-1, given for each image)
    is drawn G times with replacement."""
    count = int(clusters.max()) + 1
    drawn = generator.integers(0, count, (resamples, count)) + count * np.arange(resamples)[:, None]
    times = np.bincount(drawn.ravel(), minlength=count * resamples).reshape(resamples, count)
    return times.T[clusters].astype(np.float64)


def image_draws(generator: np.random.Generator, clusters: np.ndarray, resamples: int) -> Iterator[np.ndarray]:
    """`image_weights` of `resamples` draws in all, at most `CHUNK` at a time."""
    for start in range(0, resamples, CHUNK):
        yield image_weights(generator, clusters, min(CHUNK, resamples - start))


def over_seeds(metrics: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """(S, R, M) metrics per seed to (R, M), the mean over resampled seeds.

    S - 1 of S seeds are drawn: with S draws the variance of the mean comes out (S - 1)/S too small,
    a third for three seeds (McCarthy and Snowden 1985, The bootstrap and finite population sampling).
    A single seed says nothing about how seeds vary, and the interval then holds for that seed only.
    """
    seeds, resamples, _ = metrics.shape
    times = generator.multinomial(max(1, seeds - 1), np.full(seeds, 1 / seeds), size=resamples)
    return np.einsum("srm,rs->rm", metrics, times / times.sum(1, keepdims=True))


def percentiles(resamples: np.ndarray, confidence: float) -> tuple[float, float]:
    """The ends between which the share `confidence` of `resamples` (R,) lies, equal tails outside."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(resamples, [tail, 1 - tail])
    return float(low), float(high)


def share_interval(mean: float, draws: np.ndarray, clusters: int, confidence: float) -> tuple[float, float]:
    """Interval of an accuracy `mean` in 0..1 of which `draws` (R,) are resamples, within 0..1.

    Near 1 percentiles are too narrow, and where every picture is right each resample says the same,
    however few pictures there are. The interval therefore is the one of as many independent pictures as vary
    like the resamples (the effective sample size of Korn and Graubard 1998, Confidence intervals for
    proportions with small expected number of positive counts estimated from survey data), in the form
    of Wilson 1927 (Probable inference, the law of succession, and statistical inference). Where the resamples
    do not vary, there are `clusters` such pictures.
    """
    variance, spread = mean * (1 - mean), float(draws.var())
    images = variance / spread if spread > 1e-12 and variance > 0 else clusters
    z2 = float(ndtri((1 + confidence) / 2)) ** 2
    middle = mean + z2 / (2 * images)
    half = math.sqrt(z2 * variance / images + (z2 / (2 * images)) ** 2)
    scale = 1 + z2 / images
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)
