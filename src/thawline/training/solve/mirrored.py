"""Whether a linear head that is solved on mirror images, too, says better what pictures left out show."""

from collections.abc import Sequence

import numpy as np

from thawline.training.solve.choice import deciding_rows
from thawline.training.solve.features import rotated, standardised
from thawline.training.solve.head import penalty_path
from thawline.training.solve.left_out import FOLDS, folds_of, path_of
from thawline.training.solve.targets import Targets

MOST_PICTURES = 500
"""Pictures that decide: with their mirror images as many rows as choose the cuts of a head."""


def mirror_images_teach(
    pictures: Sequence[np.ndarray], mirrored: Sequence[np.ndarray], targets: Targets, *, seed: int = 0
) -> bool:
    """Tell whether heads on pictures and their mirror images lose less on pictures left out than heads on the
    pictures alone.

    Both are asked about the pictures as they are, on the same folds, with the penalty that does best there.
    Classes that are each other's mirror images, such as arrows, are what mirrored pictures confuse: there the
    answer is no. Of more pictures `MOST_PICTURES` decide.

    Args:
        pictures: features of N pictures at the cuts that the head reads.
        mirrored: of their mirror images, in the same order.
        targets: of the N pictures, without views.
    """
    rows = deciding_rows(targets, seed, MOST_PICTURES)
    asked = targets.rows(rows)
    folds = folds_of(asked, FOLDS, seed)
    if not folds:
        return False
    alone = [cut[rows] for cut in pictures]
    both = [np.concatenate([one, other[rows]]) for one, other in zip(alone, mirrored, strict=True)]
    of_both = _left_out_loss(both, asked.of_variants(2), [np.tile(fold, 2) for fold in folds], len(rows))
    return of_both < _left_out_loss(alone, asked, folds, len(rows))


def _left_out_loss(
    cuts: Sequence[np.ndarray], targets: Targets, folds: Sequence[np.ndarray], pictures: int
) -> float:
    """Return the least mean loss, of all penalties, of heads that are solved without a fold and asked about
    its pictures as they are, which the first so many rows are."""
    table = standardised(cuts)
    rows, own = rotated(table.rows)[0], np.arange(len(table.rows)) < pictures
    parts = [(~fold, rows[fold & own], targets.rows(fold & own)) for fold in folds]
    path = path_of(rows, targets, penalty_path(len(table.mean)), parts)[0]
    return float(path.loss[path.chosen])
