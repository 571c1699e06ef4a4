"""The one-standard-error rule (Breiman and others 1984, Classification and regression trees): of what
measured within one standard error of the best, the simplest is taken.

The best of a few trials on a few dozen pictures is mostly the luckiest: 56 pictures tell two models that
differ on six of them to within four points. What trains less then costs less and is no worse as far as
anybody can tell; what is clearly better still wins. The standard error is that of the paired difference, so
that what is hard for both cancels.
"""

import numpy as np


def simplest(
    correct: np.ndarray, best: np.ndarray, frozen: np.ndarray, clusters: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Return (R,), of each weighting of the pictures the row that the rule takes.

    Of those with more frozen than the best and within one standard error of it, that with the most frozen is
    taken, of equals the most accurate, then the first; the best where there is none.

    Args:
        correct: (T, N) of T trials on the same N pictures, 1 where right.
        best: (R,) rows that measured best.
        frozen: (T,) how many units each trial froze: the more, the simpler.
        clusters: (N,) numbers 0..G-1, equal for pictures that are not independent.
        weights: (N, R) how often each picture counts, alike within a cluster.
    """
    taken, total = best.copy(), weights.sum(0)
    accuracy = correct @ weights / total
    order = np.lexsort((np.arange(len(correct)), frozen))
    for row in order:
        lead = correct[best] - correct[row]
        mean = (lead * weights.T).sum(1) / total
        error = _standard_error(lead - mean[:, None], clusters, weights) / total
        near = (frozen[row] > frozen[best]) & (mean <= error + 1e-9)
        here = np.arange(len(best))
        further = frozen[row] > frozen[taken]
        better = (frozen[row] == frozen[taken]) & (accuracy[row] > accuracy[taken, here] + 1e-9)
        taken = np.where(near & (further | better), row, taken)
    return taken


def _standard_error(off: np.ndarray, clusters: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return (R,) of the sum of `off` (R, N), which sums to zero under its weights."""
    heads = np.unique(clusters, return_index=True)[1]
    if len(heads) < len(clusters):
        off = off @ np.equal(clusters[:, None], np.arange(len(heads))).astype(np.float64)
    return np.asarray(np.sqrt((weights[heads].T * off**2).sum(1)))
