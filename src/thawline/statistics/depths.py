"""The outcomes of fine-tunings at several depths, measured and resampled together.

Every depth is validated on the same pictures, so differences between depths are paired: pictures that are
hard at every depth cancel. Each depth's recipe was chosen on these pictures from equally many trials. That
makes every depth's accuracy a little too high, all about equally, which cancels in the differences as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from thawline.statistics.bootstrap import clusters_of, over_seeds, picture_draws


@dataclass(frozen=True, eq=False)
class AtDepth:
    """The outcomes of the fine-tunings at one depth.

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
        """Count the pictures, or groups of pictures, that are independent of each other."""
        return int(self.clusters.max()) + 1


def resampled(
    points: Sequence[AtDepth], groups: np.ndarray | None = None, *, resamples: int = 2000, seed: int = 0
) -> Resampled:
    """Measure and resample the accuracy at every depth.

    Args:
        points: one for each depth, in any order, all of the same N pictures in the same order.
        groups: (N,) pictures with equal values are drawn together. None: every picture on its own.
        resamples: how many.
        seed: decides every draw. A depth's draws do not depend on which others there are.

    Raises ValueError where there is no depth, no seed or no picture, where a depth is given twice, and
    where the depths were validated on different numbers of pictures.
    """
    checked(points)
    clusters = clusters_of(points[0].correct.shape[1], groups)
    generator = np.random.default_rng(seed)
    every = np.concatenate([np.asarray(point.correct, np.float64) for point in points])
    accuracies = np.concatenate(
        [every @ weights / weights.sum(0) for weights in picture_draws(generator, clusters, resamples)],
        axis=1,
    )
    ends = np.cumsum([len(point.correct) for point in points])[:-1]
    draws = [
        over_seeds(own, np.random.default_rng([seed, point.depth]))
        for point, own in zip(points, np.split(accuracies, ends), strict=True)
    ]
    return Resampled(np.array([point.correct.mean() for point in points]), np.stack(draws), clusters)


def checked(points: Sequence[AtDepth]) -> list[AtDepth]:
    """Return `points` by increasing depth.

    Raises ValueError where there is no depth, no seed or no picture, where a depth is given twice, and
    where the depths were validated on different numbers of pictures.
    """
    shapes = [point.correct.shape for point in points]
    if not shapes or not all(len(shape) == 2 and min(shape) for shape in shapes):
        raise ValueError(f"at each depth (seeds, pictures), at least one of each, are needed; not {shapes}")
    if len({pictures for _, pictures in shapes}) > 1:
        raise ValueError(f"the depths were validated on different numbers of pictures: {shapes}")
    depths = [point.depth for point in points]
    if len(set(depths)) < len(depths):
        raise ValueError(f"a depth is given twice: {depths}")
    return sorted(points, key=lambda point: point.depth)


def best(accuracies: np.ndarray) -> int:
    """Return the position of the highest of `accuracies` (K,); of equals the last, the most frozen."""
    return int(np.flatnonzero(np.isclose(accuracies, accuracies.max(), rtol=0, atol=1e-12))[-1])
