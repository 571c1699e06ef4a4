"""Solved heads looked at from outside: of all pictures out of fold, and of growing parts of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from thawline.review.more_pictures import SHARES
from thawline.review.out_of_fold import OutOfFold, out_of_fold
from thawline.training.solve.features import rotated, standardised
from thawline.training.solve.left_out import folds_of
from thawline.training.solve.targets import Targets

MOST = 1000
"""Pictures that are looked at together: solving takes the square of their number. Of more, parts as large as
this are looked at one after the other."""


@dataclass(frozen=True, eq=False)
class Look:
    """`probabilities` (N, classes) of each picture by heads that it did not teach, where others of its class
    `taught` (N,) them; `curve` by rising numbers of pictures that taught, of the pictures at `rows`: all, or
    a part of about `MOST`."""

    probabilities: np.ndarray
    taught: np.ndarray
    curve: list[OutOfFold]
    rows: np.ndarray


def look(cuts: Sequence[np.ndarray], targets: Targets, repeats: int, seed: int) -> Look | None:
    """Ask heads about pictures that did not teach them; None where no class has two pictures (or
    groups), or where features are no numbers.

    Args:
        cuts: features (N, D).
        targets: what they are called, and which belong together.
        repeats: how often each picture is left out.
    """
    pictures = len(targets.labels)
    if not all(np.isfinite(cut).all() for cut in cuts):
        return None
    masks = folds_of(targets, -(-pictures // MOST), seed)
    parts = [np.flatnonzero(mask) for mask in masks] or [np.arange(pictures)]
    said, curve, curved = np.zeros((pictures, targets.classes)), list[OutOfFold](), parts[0]
    taught = np.zeros(pictures, bool)
    for rows in parts:
        table = standardised([cut[rows] for cut in cuts])
        turned, own = rotated(table.rows)[0], targets.rows(rows)
        shares = SHARES[-1:] if curve else SHARES
        found = [
            out_of_fold(turned, len(table.mean), own, share, repeats=repeats, seed=seed) for share in shares
        ]
        if found[-1] is None:
            continue
        said[rows], taught[rows] = found[-1].probabilities.mean(0), _with_others(own)
        if not curve:
            curve, curved = [each for each in found if each is not None], rows
    if not curve:
        return None
    return Look(said, taught, [each for each in curve if _enough(each, targets)], curved)


def _with_others(targets: Targets) -> np.ndarray:
    """Tell of each picture (N,) whether there is another group of its class."""
    first = np.unique(targets.together, return_index=True)[1]
    groups = np.bincount(targets.labels[first], minlength=targets.classes)
    found: np.ndarray = groups[targets.labels] > 1
    return found


def _enough(found: OutOfFold, targets: Targets) -> bool:
    """Tell whether so many pictures are two of a class and more than a handful."""
    return found.pictures >= max(10, 2 * targets.classes)
