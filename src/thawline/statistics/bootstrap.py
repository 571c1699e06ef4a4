"""The draws behind every resampled result: pictures, or groups of them, and seeds.

Two things are random: which pictures were held out, and which seeds were fine-tuned. Both are resampled
(the crossed design of Owen 2007, The pigeonhole bootstrap).
"""

from collections.abc import Iterator, Sequence

import numpy as np

CHUNK = 250
"""Resamples computed at once: bounds memory to this many numbers per picture."""


def clusters_of(pictures: int, groups: Sequence[object] | np.ndarray | None) -> np.ndarray:
    """Number the groups: (N,) of 0..G-1, equal where `groups` are; None: every picture its own."""
    if groups is None:
        return np.arange(pictures)
    return np.unique(np.asarray(groups), return_inverse=True)[1]


def picture_weights(generator: np.random.Generator, clusters: np.ndarray, resamples: int) -> np.ndarray:
    """Draw the G clusters (0..G-1, given for each picture) G times with replacement.

    Returns (N, resamples): how often each picture was drawn.
    """
    count = int(clusters.max()) + 1
    drawn = generator.integers(0, count, (resamples, count)) + count * np.arange(resamples)[:, None]
    times = np.bincount(drawn.ravel(), minlength=count * resamples).reshape(resamples, count)
    return times.T[clusters].astype(np.float64)


def picture_draws(
    generator: np.random.Generator, clusters: np.ndarray, resamples: int
) -> Iterator[np.ndarray]:
    """Yield `picture_weights` of `resamples` draws in all, at most `CHUNK` at a time."""
    for start in range(0, resamples, CHUNK):
        yield picture_weights(generator, clusters, min(CHUNK, resamples - start))


def over_seeds(accuracies: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Average (S, R) accuracies of each seed to (R,) over resampled seeds.

    S - 1 of S seeds are drawn: with S draws the variance of the mean comes out (S - 1)/S too small,
    a third for three seeds (McCarthy and Snowden 1985, The bootstrap and finite population sampling).
    A single seed says nothing about how seeds vary, and the result then holds for that seed only.
    """
    seeds, resamples = accuracies.shape
    times = generator.multinomial(max(1, seeds - 1), np.full(seeds, 1 / seeds), size=resamples)
    return np.einsum("sr,rs->r", accuracies, times / times.sum(1, keepdims=True))
