"""Multiple comparisons with the best: the depths that the pictures cannot tell from the best one.

The depth with the highest accuracy is a selected maximum, so that comparing the others with it as if it
had been named beforehand finds differences where there are none. `could_be_best` asks of each depth instead
whether it could itself be the best (Hsu 1984, Constrained simultaneous confidence intervals for multiple
comparisons with the best): a depth is out only if some other one beats it by more than the largest of all
differences to it would by chance. That largest difference is resampled (the max-statistic of Romano and Wolf
2005, Exact and approximate stepdown methods for multiple hypothesis testing), so that depths which err on the
same pictures cost no power. The truly best depth stays in with at least the probability `confidence`,
whichever it is.
"""

import numpy as np
from scipy.special import ndtri, stdtrit

from thawline.statistics.bootstrap import picture_draws
from thawline.statistics.depths import Resampled, best


def could_be_best(found: Resampled, confidence: float) -> np.ndarray:
    """Return (K,) bool: the depths that could be the best, the one that measured best always among them.

    A difference is divided by the standard deviation it would have if there were none in truth, as in the
    test of McNemar 1947 (Note on the sampling error of the difference between correlated proportions): a
    handful of pictures that all speak for one depth have no spread of their own. For few pictures (or
    groups) the critical value is widened as Student's t is against the normal distribution. With one
    group nothing is out.
    """
    independent = found.independent
    if independent == 1:
        return np.ones(len(found.value), bool)
    alone, one = ndtri(confidence), stdtrit(independent - 1, confidence)
    result = []
    for value, draws in zip(found.value, found.draws, strict=True):
        ahead = found.value - value
        deviation = found.draws - draws - ahead[:, None]
        spread = deviation.std(1)
        largest = np.quantile(_divided(deviation, spread[:, None]).max(0), confidence)
        lead = _divided(ahead, np.sqrt(spread**2 + ahead**2 / independent)).max()
        result.append(lead <= one * max(1.0, largest / alone))
    result[best(found.value)] = True
    return np.array(result)


def _divided(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Divide, and give 0 where what is divided by is nothing but rounding."""
    return np.divide(above, below, out=np.zeros_like(above), where=below > 1e-9)


def cheapest_alike(
    correct: np.ndarray,
    costs: np.ndarray,
    clusters: np.ndarray,
    *,
    confidence: float = 0.95,
    tolerance: float = np.inf,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[int, np.ndarray]:
    """Return the cheapest of what could be the best and measured within `tolerance` of it, and (K,) bool:
    what could be the best.

    Args:
        correct: (K, N) of K models on the same N pictures, 1 where right.
        costs: (K,); of equals the first is taken.
        clusters: (N,) numbers 0..G-1, equal for pictures that are not independent.
        tolerance: in 0..1; infinity: whatever it measured.
    """
    generator = np.random.default_rng(seed)
    draws = [correct @ weights / weights.sum(0) for weights in picture_draws(generator, clusters, resamples)]
    value = correct.mean(1)
    alike = could_be_best(Resampled(value, np.concatenate(draws, axis=1), clusters), confidence)
    near = np.flatnonzero(alike & (value >= value.max() - tolerance - 1e-9))
    return int(near[np.argmin(costs[near])]), alike
