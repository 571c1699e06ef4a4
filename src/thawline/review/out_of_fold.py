"""What solved heads say of pictures that did not teach them, when all others did or only some of them."""

from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from thawline.training.solve.head import penalty_path
from thawline.training.solve.left_out import FOLDS, Asked, folds_of, in_order, left_out, path_of
from thawline.training.solve.targets import Targets


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """`pictures` is how many taught a head, in the mean; `probabilities` (R, N, classes) is what heads said
    of each picture in each of R repeats, always heads that it did not teach."""

    pictures: float
    probabilities: np.ndarray

    def correct(self, labels: np.ndarray) -> np.ndarray:
        """Return (R, N): 1 where the most probable class is the label, else 0."""
        return (self.probabilities.argmax(2) == labels).astype(float)


def out_of_fold(
    rows: np.ndarray, columns: int, targets: Targets, share: float, *, repeats: int, seed: int
) -> OutOfFold | None:
    """Leave out each picture once in every repeat and ask heads about it that `share` of the others solved;
    None where no class has two pictures.

    The penalty is the one with the least log-loss of all these answers. Pictures of one group stay together,
    and of each class there is about the same share in every fold and in every part of the others.

    Args:
        rows: coordinates (N, r) of the pictures' standardised features.
        columns: how many features these were.
        share: in 0..1; smaller shares of the same seed are parts of larger ones.
    """
    parts: list[Asked] = []
    divisions: list[list[np.ndarray]] = []
    for repeat in range(seed * repeats, (seed + 1) * repeats):
        divisions.append(folds_of(targets, FOLDS, repeat))
        generator = np.random.default_rng(repeat)
        for taught, asked, of_asked in left_out(rows, targets, divisions[-1]):
            parts.append((_some(taught, targets, share, generator), asked, of_asked))
    if not parts:
        return None
    _, logits = path_of(rows, targets, penalty_path(columns), parts)
    each = zip(np.split(softmax(logits, axis=1), repeats), divisions, strict=True)
    said = np.stack([in_order(of_repeat, folds) for of_repeat, folds in each])
    return OutOfFold(float(np.mean([taught.sum() for taught, *_ in parts])), said)


def _some(taught: np.ndarray, targets: Targets, share: float, generator: np.random.Generator) -> np.ndarray:
    """Return a mask (N,) of about `share` of the `taught` rows: whole groups, as much of each class, and at
    least one of each."""
    rows = np.flatnonzero(taught)
    group, labels = targets.grouped(rows)
    shuffled = generator.permutation(len(labels))
    place = np.empty(len(labels))
    for label in np.unique(labels):
        own = shuffled[labels[shuffled] == label]
        place[own] = np.arange(len(own)) / len(own)
    order = np.argsort(place, kind="stable")
    sizes = np.bincount(group)[order]
    kept = order[(place[order] == 0) | (np.cumsum(sizes) - sizes < share * len(rows) - 0.5)]
    found = np.zeros(len(taught), bool)
    found[rows[np.isin(group, kept)]] = True
    return found
