"""The depth to use: the cheapest that the validation pictures cannot tell from the best.

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

import numpy as np
from scipy.special import ndtri

from thawline.statistics.comparisons import could_be_best
from thawline.statistics.depths import AtDepth, Resampled, best, checked, resampled

TOLERANCE = 0.01
"""How far below the best a recommended depth may have measured: one point."""
WORTH = 0.02
"""The difference in accuracy that `pictures_needed` asks to see: two points."""
POWER = 0.8
"""The probability with which it is to be seen if it is there."""


@dataclass(frozen=True)
class Recommendation:
    """The recommended depth and the facts that speak for it. Accuracies lie in 0..1."""

    chosen: AtDepth
    best: AtDepth
    """The depth that measured best; of equals the most frozen."""
    accuracy: float
    """Of the depth that measured best."""
    alike: tuple[int, ...]
    """Every depth that could be the best, the best among them, in increasing order."""
    depths: int
    """How many were compared."""
    fewest_seeds: int
    """Of the depths that were compared."""
    tolerance: float | None
    """How far below the best the chosen depth may have measured, where that excluded a cheaper one."""
    pictures: int
    independent: int
    """How many of the pictures, or groups of them, are independent."""
    pictures_needed: int | None
    """To see `WORTH` between the depths that are alike; None where nothing tells what it takes."""


def recommend(
    points: Sequence[AtDepth],
    groups: np.ndarray | None = None,
    *,
    tolerance: float | None = TOLERANCE,
    resamples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Recommendation:
    """Recommend the most frozen depth that could be the best and measured within `tolerance` of the best.

    Args:
        points, groups, resamples, seed: as of `depths.resampled`, which raises ValueError.
        tolerance: in 0..1; None: whatever it measured.
        confidence: with which the best depth is among those that are alike.
    """
    points = checked(points)
    found = resampled(points, groups, resamples=resamples, seed=seed)
    alike, first = could_be_best(found, confidence), best(found.value)
    least = -math.inf if tolerance is None else found.value[first] - tolerance - 1e-9
    deepest, chosen = (int(np.flatnonzero(these)[-1]) for these in (alike, alike & (found.value >= least)))
    return Recommendation(
        chosen=points[chosen],
        best=points[first],
        accuracy=float(found.value[first]),
        alike=tuple(points[i].depth for i in np.flatnonzero(alike)),
        depths=len(points),
        fewest_seeds=min(len(point.correct) for point in points),
        tolerance=None if chosen == deepest else tolerance,
        pictures=len(found.clusters),
        independent=found.independent,
        pictures_needed=pictures_needed(points, found, alike, confidence),
    )


def pictures_needed(
    points: Sequence[AtDepth], found: Resampled, alike: np.ndarray, confidence: float
) -> int | None:
    """Return how many validation pictures would show `WORTH` between two of the `alike` depths.

    From the variance over pictures (or groups) of the paired difference between the best depth and the one
    that differs from it most, for one two-sided comparison with probability `POWER` of success; to two
    significant digits. How seeds vary is left out: more pictures do not help against that. None where
    fewer than two depths are alike, or where they never differ.
    """
    independent, pictures = found.independent, len(found.clusters)
    right = np.stack([point.correct.mean(0) for point in points])
    others = (right - right[best(found.value)])[alike]
    if independent < 2 or len(others) < 2:
        return None
    off = others - others.mean(1, keepdims=True)
    sums = np.stack([np.bincount(found.clusters, row, independent) for row in off])
    variance = (sums**2).sum(1).max() / pictures * independent / (independent - 1)
    if variance <= 1e-12:
        return None
    wanted = variance * ((ndtri(1 - (1 - confidence) / 2) + ndtri(POWER)) / WORTH) ** 2
    unit = 10 ** max(0, math.floor(math.log10(wanted)) - 1)
    return math.ceil(wanted / unit) * unit
