"""Which depth to use: the cheapest that the validation pictures cannot tell from the best.

The depth with the highest accuracy is a selected maximum, so that comparing the others with it as if it
had been named beforehand finds differences where there are none. `could_be_best` asks of each depth instead
whether it could itself be the best (multiple comparisons with the best, Hsu 1984, Constrained
simultaneous confidence intervals for multiple comparisons with the best): a depth is out only if some
other one beats it by more than the largest of all differences to it would by chance. That largest
difference is resampled (the max-statistic of Romano and Wolf 2005, Exact and approximate stepdown methods
for multiple hypothesis testing), so that depths which err on the same pictures cost no power. The truly
best depth stays in with at least the probability `confidence`, whichever it is.

Not being told apart is no proof of being equal, and the fewer the pictures the more depths are not. A
depth that measured clearly below the best is probably worse even where the pictures do not prove it. In
simulated studies of five seeds on a plateau that drops (`test_recommendation.py`), the cheapest depth that
could be the best, whatever it measured, was more than two points worse in one of five studies with 200
pictures and in nine of ten with 50. Hence `TOLERANCE`, in the spirit of the one-standard-error rule of
Breiman et al. 1984 (Classification and regression trees): simple, but nearly the best as measured.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import norm, t

from thawline.search.results.wording import reason
from thawline.statistics.depths import AtDepth, Resampled, best, resampled

TOLERANCE = 0.01
"""How far below the best a recommended depth may have measured: one point."""
WORTH = 0.02
"""The difference in accuracy that `pictures_needed` asks to see: two points."""
POWER = 0.8
"""The probability with which it is to be seen if it is there."""


@dataclass(frozen=True)
class Recommendation:
    """`dataclasses.asdict` gives what reports/recommendation.json holds. Accuracies lie in 0..1."""

    depth: int
    unit: str | None
    """The last frozen unit; None at depth 0."""
    reason: str
    indistinguishable_depths: list[int]
    """Every depth that could be the best, the best among them, in increasing order."""
    best_depth: int | None
    """The depth that measured best; None where no depths were compared."""
    pictures: int | None
    pictures_needed: int | None
    """To see `WORTH` between the indistinguishable depths; None where nothing tells what it takes."""


def recommend(
    points: Sequence[AtDepth],
    groups: np.ndarray | None = None,
    *,
    cheapest: Literal["deepest", "fastest"] = "deepest",
    tolerance: float | None = TOLERANCE,
    resamples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
    folds: int = 1,
) -> Recommendation:
    """The cheapest depth that could be the best and measured within `tolerance` of the best.

    Args:
        points, groups, resamples, seed: as of `evidence.resampled`, which raises ValueError.
        cheapest: the most frozen depth, or the one with the fewest seconds.
        tolerance: in 0..1; None: whatever it measured.
        confidence: with which the best depth is among the indistinguishable ones.
        folds: parts of the cross-validation, for the reason; 1 where the pictures were a held-out part.
    """
    points = sorted(points, key=lambda point: point.depth)
    found = resampled(points, groups, resamples=resamples, seed=seed)
    alike, first = could_be_best(found, confidence), best(found)
    by_time = cheapest == "fastest"
    # costs[i] is smaller than costs[j] where i is cheaper
    costs = [(point.seconds if by_time else 0.0, -point.depth) for point in points]
    least = -math.inf if tolerance is None else found.value[first] - tolerance - 1e-9
    whatever = min(np.flatnonzero(alike).tolist(), key=costs.__getitem__)
    chosen = min(np.flatnonzero(alike & (found.value >= least)).tolist(), key=costs.__getitem__)
    limit = None if chosen == whatever else tolerance
    needed = pictures_needed(points, found, alike, confidence)
    return Recommendation(
        depth=points[chosen].depth,
        unit=points[chosen].unit,
        reason=reason(points, found, alike, chosen, limit, needed, folds),
        indistinguishable_depths=[points[i].depth for i in np.flatnonzero(alike)],
        best_depth=points[first].depth,
        pictures=len(found.clusters),
        pictures_needed=needed,
    )


def could_be_best(found: Resampled, confidence: float) -> np.ndarray:
    """(K,) bool: which depths could be the best, the one that measured best always among them.

    A difference is divided by the standard deviation it would have if there were none in truth, as in the
    test of McNemar 1947 (Note on the sampling error of the difference between correlated proportions): a
    handful of pictures that all speak for one depth have no spread of their own. For few pictures (or
    groups) the critical value is widened as Student's t is against the normal distribution. With one
    group nothing is out.
    """
    independent = found.independent
    if independent == 1:
        return np.ones(len(found.value), bool)
    alone, one = norm.ppf(confidence), t.ppf(confidence, independent - 1)
    result = []
    for value, draws in zip(found.value, found.draws, strict=True):
        ahead = found.value - value
        deviation = found.draws - draws - ahead[:, None]
        spread = deviation.std(1)
        largest = np.quantile(_divided(deviation, spread[:, None]).max(0), confidence)
        lead = _divided(ahead, np.sqrt(spread**2 + ahead**2 / independent)).max()
        result.append(lead <= one * max(1.0, largest / alone))
    result[best(found)] = True
    return np.array(result)


def _divided(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """The quotient, and 0 where what is divided by is nothing but rounding."""
    return np.divide(above, below, out=np.zeros_like(above), where=below > 1e-9)


def pictures_needed(
    points: Sequence[AtDepth], found: Resampled, alike: np.ndarray, confidence: float
) -> int | None:
    """How many validation pictures would show a difference of `WORTH` between two of the `alike` depths.

    From the variance over pictures (or groups) of the paired difference between the best depth and the one
    that differs from it most, for one two-sided comparison with probability `POWER` of success; to two
    significant digits. How seeds vary is left out: more pictures do not help against that. None where
    fewer than two depths are alike, or where they never differ.
    """
    independent, pictures = found.independent, len(found.clusters)
    right = np.stack([point.correct.mean(0) for point in points])
    others = (right - right[best(found)])[alike]
    if independent < 2 or len(others) < 2:
        return None
    off = others - others.mean(1, keepdims=True)
    sums = np.stack([np.bincount(found.clusters, row, independent) for row in off])
    variance = (sums**2).sum(1).max() / pictures * independent / (independent - 1)
    if variance <= 1e-12:
        return None
    wanted = variance * ((norm.ppf(1 - (1 - confidence) / 2) + norm.ppf(POWER)) / WORTH) ** 2
    unit = 10 ** max(0, math.floor(math.log10(wanted)) - 1)
    return math.ceil(wanted / unit) * unit
