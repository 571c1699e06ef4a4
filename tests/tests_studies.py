"""Simulated studies whose truth is known."""

from functools import cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from thawline.statistics.depths import AtDepth

DIFFICULTY = 3.0
"""Spread of the pictures' difficulty in logits: most are easy or hopeless for every depth."""
SHARED = 0.85
"""Share of that variance that is common to all depths; the rest is each depth's own."""
SEEDS = 0.15
"""Spread of the seeds in logits: at 90 %, about a point and a half between the best and worst of five."""

PLATEAU = (0.90, 0.90, 0.90, 0.90, 0.90, 0.90, 0.85, 0.78, 0.70)
SLOPE = (0.90, 0.90, 0.90, 0.90, 0.89, 0.88, 0.86, 0.82, 0.75)
HUMP = (0.84, 0.87, 0.89, 0.90, 0.90, 0.89, 0.86, 0.80)
STEEP = (0.90, 0.80, 0.70, 0.60, 0.50)


@cache
def _logit(accuracy: float) -> float:
    """The logit at which pictures and seeds of the above spread are right with this mean probability."""
    difficulty = np.random.default_rng(0).normal(0, np.hypot(DIFFICULTY, SEEDS), 20001)
    return float(brentq(lambda logit: expit(logit + difficulty).mean() - accuracy, -15, 15))


def depth_study(
    generator: np.random.Generator, curve: tuple[float, ...], seeds: int, images: int
) -> list[AtDepth]:
    """One study of depths 0, 1, … whose true accuracies are `curve`."""
    common = generator.normal(0, DIFFICULTY * SHARED**0.5, images)
    points = []
    for depth, accuracy in enumerate(curve):
        own = generator.normal(0, DIFFICULTY * (1 - SHARED) ** 0.5, images)
        quality = generator.normal(0, SEEDS, (seeds, 1))
        right = generator.random((seeds, images)) < expit(_logit(accuracy) + common + own + quality)
        points.append(at_depth(depth, right))
    return points


def at_depth(depth: int, right: np.ndarray, seconds: float = 1.0) -> AtDepth:
    """(S, N) or, for one seed, (N,) of pictures that were right."""
    unit = f"unit{depth}" if depth else None
    return AtDepth(depth, unit, np.atleast_2d(right).astype(float), seconds, 1000 - depth)
