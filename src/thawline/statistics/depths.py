"""The evidence of a depth curve: accuracy at every depth with intervals, and how the depths differ.

Every depth is validated on the same pictures, so differences between depths are paired: pictures that
are hard at every depth cancel. Pictures and seeds are resampled together (`thawline.statistics.bootstrap`).

Each depth's recipe was chosen on these pictures from equally many trials. That makes every depth's
accuracy a little too high, all about equally, which cancels in the differences as well.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from thawline.artifacts import atomic_path
from thawline.statistics.bootstrap import clusters_of, image_draws, over_seeds, percentiles, share_interval

COLUMNS = (
    *("depth", "unit", "n_seeds", "val_mean", "val_low", "val_high", "test_mean", "test_low", "test_high"),
    *("seconds", "trainable_parameters"),
    *("minus_full_mean", "minus_full_low", "minus_full_high"),
    *("minus_probe_mean", "minus_probe_low", "minus_probe_high"),
    *("minus_best_mean", "minus_best_low", "minus_best_high"),
)
"""Of `depth_curve`: accuracies and their differences in 0..1 and -1..1; seconds of one fine-tuning."""


@dataclass(frozen=True, eq=False)
class AtDepth:
    """What the fine-tunings at one depth showed.

    `correct` (S, N): for each seed (or each repetition of cross-validation) 1 where it was right on a
    picture, 0 where wrong, or any number between. `unit` is the last frozen unit, None at depth 0.
    `seconds` is the mean over seeds.
    """

    depth: int
    unit: str | None
    correct: np.ndarray
    seconds: float
    trainable_parameters: int


@dataclass(frozen=True, eq=False)
class Resampled:
    """Accuracy at K depths: `value` (K,), and the same in each of R resamples, `draws` (K, R).

    The pictures of a resample are the same at every depth. `clusters` (N,) numbers 0..G-1.
    """

    value: np.ndarray
    draws: np.ndarray
    clusters: np.ndarray

    @property
    def independent(self) -> int:
        """How many pictures, or groups of pictures, are independent of each other."""
        return int(self.clusters.max()) + 1


def resampled(
    points: Sequence[AtDepth], groups: np.ndarray | None = None, *, resamples: int = 2000, seed: int = 0
) -> Resampled:
    """Accuracy at every depth, measured and resampled.

    Args:
        points: one for each depth, in any order, all of the same N pictures in the same order.
        groups: (N,) pictures with equal values are drawn together. None: every picture on its own.
        resamples: how many.
        seed: decides every draw. A depth's draws do not depend on which others there are.

    Raises ValueError where there is no depth, no seed or no picture, where a depth is given twice, and
    where the depths were validated on different numbers of pictures.
    """
    _check(points)
    clusters = clusters_of(points[0].correct.shape[1], groups)
    generator = np.random.default_rng(seed)
    every = np.concatenate([np.asarray(point.correct, np.float64) for point in points])
    accuracies = np.concatenate(
        [every @ weights / weights.sum(0) for weights in image_draws(generator, clusters, resamples)], axis=1
    )
    ends = np.cumsum([len(point.correct) for point in points])[:-1]
    draws = [
        over_seeds(own[..., None], np.random.default_rng([seed, point.depth]))[:, 0]
        for point, own in zip(points, np.split(accuracies, ends), strict=True)
    ]
    return Resampled(np.array([point.correct.mean() for point in points]), np.stack(draws), clusters)


def _check(points: Sequence[AtDepth]) -> None:
    shapes = [point.correct.shape for point in points]
    if not shapes or not all(len(shape) == 2 and min(shape) for shape in shapes):
        raise ValueError(f"at each depth (seeds, pictures), at least one of each, are needed; not {shapes}")
    if len({images for _, images in shapes}) > 1:
        raise ValueError(f"the depths were validated on different numbers of pictures: {shapes}")
    depths = [point.depth for point in points]
    if len(set(depths)) < len(depths):
        raise ValueError(f"a depth is given twice: {depths}")


def depth_curve(
    points: Sequence[AtDepth],
    groups: np.ndarray | None = None,
    *,
    probe: int | None = None,
    resamples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """One row for each depth, in increasing order, with the columns `COLUMNS`.

    `minus_full` is the accuracy minus that of full fine-tuning (depth 0), `minus_probe` minus that of the
    linear probe, `minus_best` minus that of the depth with the highest `val_mean` (of equals the
    deepest). Each has the paired interval of that one difference; `recommend` corrects for comparing many.
    The columns of a depth that is not among `points`, and those of the test split, which only
    `evaluate` can open, are NaN.

    Args:
        points, groups, resamples, seed: as of `resampled`, which raises ValueError.
        probe: depth of the linear probe; None: the deepest of `points`.
        confidence: coverage of every interval.
    """
    points = sorted(points, key=lambda point: point.depth)
    found = resampled(points, groups, resamples=resamples, seed=seed)
    depths = [point.depth for point in points]
    probe = depths[-1] if probe is None else probe
    others = {"full": _position(depths, 0), "probe": _position(depths, probe), "best": best(found)}
    rows = []
    for position, point in enumerate(points):
        low, high = share_interval(
            found.value[position], found.draws[position], found.independent, confidence
        )
        row = {
            "depth": point.depth,
            "unit": point.unit,
            "n_seeds": len(point.correct),
            **_named("val", found.value[position], low, high),
            **_named("test", math.nan, math.nan, math.nan),
            "seconds": point.seconds,
            "trainable_parameters": point.trainable_parameters,
        }
        for name, other in others.items():
            row |= _named(f"minus_{name}", *_difference(found, position, other, confidence))
        rows.append(row)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    # strings of their own type would have NaN in the place of None
    return table.assign(unit=pd.Series([point.unit for point in points], dtype=object))


def best(found: Resampled) -> int:
    """Position of the highest accuracy; of equals the last."""
    return int(np.flatnonzero(np.isclose(found.value, found.value.max(), rtol=0, atol=1e-12))[-1])


def _position(depths: list[int], depth: int) -> int | None:
    return depths.index(depth) if depth in depths else None


def _difference(
    found: Resampled, position: int, other: int | None, confidence: float
) -> tuple[float, float, float]:
    if other is None:
        return math.nan, math.nan, math.nan
    low, high = percentiles(found.draws[position] - found.draws[other], confidence)
    return float(found.value[position] - found.value[other]), low, high


def _named(name: str, mean: float, low: float, high: float) -> dict[str, float]:
    """Rounded to 6 decimals, so that the last bits of a sum do not change files."""
    values = {f"{name}_mean": mean, f"{name}_low": low, f"{name}_high": high}
    # + 0.0 turns -0.0 into 0.0
    return {key: round(float(value), 6) + 0.0 for key, value in values.items()}


def write_curve(path: Path, curve: pd.DataFrame) -> None:
    """`curve` with the columns `COLUMNS` as CSV; what is not known is an empty cell. No rows: the header."""
    with atomic_path(path) as temporary:
        curve.reindex(columns=list(COLUMNS)).to_csv(
            temporary, index=False, lineterminator="\n", encoding="utf-8"
        )


def read_curve(path: Path) -> pd.DataFrame:
    """What `write_curve` wrote; `unit` is None where it is not known."""
    curve = pd.read_csv(path, encoding="utf-8", dtype={"unit": object}, keep_default_na=False, na_values=[""])
    return curve.assign(unit=curve["unit"].where(curve["unit"].notna(), None))
