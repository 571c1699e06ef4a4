"""The table of a depth curve: accuracy at every depth with its interval, and how the depths differ."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from thawline.depth_curve import COLUMNS
from thawline.statistics.bootstrap import clusters_of
from thawline.statistics.depths import AtDepth, best, checked
from thawline.statistics.intervals import accuracy_interval, named
from thawline.statistics.paired import difference_interval


def depth_curve(
    points: Sequence[AtDepth],
    groups: np.ndarray | None = None,
    *,
    probe: int | None = None,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Return one row for each depth, in increasing order, with the columns `COLUMNS`.

    `minus_full` is the accuracy minus that of full fine-tuning (depth 0), `minus_probe` minus that of the
    linear probe, `minus_best` minus that of the depth with the highest `val_mean` (of equals the
    deepest). Each has the paired interval of that one difference; `recommend` corrects for comparing many.
    The columns of a depth that is not among `points`, and those of the test split, which only
    `evaluate` can open, are NaN.

    Args:
        points: one for each depth, in any order, all of the same N pictures in the same order.
        groups: (N,) pictures with equal values are not independent. None: every picture on its own.
        probe: depth of the linear probe; None: the deepest of `points`.
        confidence: coverage of every interval.

    Raises ValueError as `thawline.statistics.depths.checked` does.
    """
    points = checked(points)
    clusters = clusters_of(points[0].correct.shape[1], groups)
    probe = points[-1].depth if probe is None else probe
    others = {
        "full": _at(points, 0),
        "probe": _at(points, probe),
        "best": points[best(np.array([point.correct.mean() for point in points]))],
    }
    rows = []
    for point in points:
        row = {
            "depth": point.depth,
            "unit": point.unit,
            "n_seeds": len(point.correct),
            **_named("val", *accuracy(point, groups, confidence)),
            "seconds": point.seconds,
            "trainable_parameters": point.trainable_parameters,
        }
        for name, other in others.items():
            row |= _named(f"minus_{name}", *_difference(point, other, clusters, confidence))
        rows.append(row)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    # strings of their own type would have NaN in the place of None
    return table.assign(unit=pd.Series([point.unit for point in points], dtype=object))


def accuracy(
    point: AtDepth, groups: Sequence[object] | np.ndarray | None, confidence: float
) -> tuple[float, float, float]:
    """Return the mean accuracy at one depth and the ends of its interval, in 0..1."""
    return float(point.correct.mean()), *accuracy_interval(point.correct, confidence, groups)


def _at(points: Sequence[AtDepth], depth: int) -> AtDepth | None:
    return next((point for point in points if point.depth == depth), None)


def _difference(
    point: AtDepth, other: AtDepth | None, clusters: np.ndarray, confidence: float
) -> tuple[float, float, float]:
    if other is None:
        return math.nan, math.nan, math.nan
    if other is point:
        return 0.0, 0.0, 0.0
    ends = difference_interval(point.correct, other.correct, clusters, confidence)
    return float(point.correct.mean() - other.correct.mean()), *ends


def _named(name: str, mean: float, low: float, high: float) -> dict[str, float]:
    return {f"{name}_{end}": value for end, value in named(mean, (low, high)).items()}
