"""Ridge regression in closed form with exact leave-one-out predictions: compares cuts and sources quickly."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from thawline.training.solve.features import CutFeatures, rotated, standardised
from thawline.training.solve.head import LinearHead, PenaltyPath, penalty_path


@dataclass(frozen=True, eq=False)
class Ridge:
    """The head at the chosen penalty, and `left_out` (P, N, K): for each penalty what a head solved without
    the row, or without all rows of its group, says of it."""

    head: LinearHead
    left_out: np.ndarray


def ridge(
    cuts: Sequence[CutFeatures],
    labels: np.ndarray,
    classes: int,
    *,
    penalties: Sequence[float] | None = None,
    groups: np.ndarray | None = None,
) -> Ridge:
    """Regress indicators of the classes (0 or 1) on the standardised columns of `cuts`, for all penalties.

    sum((indicator - score) ** 2) + penalty * sum(weight ** 2) is made smallest; the bias is not penalised.
    Left-out predictions are those of refitting without the rows (Allen 1974, PRESS), columns standardised
    over all rows. The penalty with the smallest left-out squared error is chosen, of equals the largest.

    Args:
        labels: (N,) in 0 .. classes - 1.
        penalties: positive; None: 13, from 1000 to 1/1000 of the number of columns.
        groups: (N,) equal for rows that are left out together; None: each row alone. At least two differ.
    """
    groups = np.arange(len(labels)) if groups is None else groups
    if len(np.unique(groups)) < 2:
        raise ValueError("nothing is left once the only group is left out")
    table = standardised(cuts)
    rows, axes = rotated(table.rows)
    tried = penalty_path(len(table.mean), -3, 3, 13) if penalties is None else -np.sort(-np.array(penalties))
    wanted = np.eye(classes)[labels]
    left_out = _left_out(rows, wanted, tried, groups)
    error = ((left_out - wanted) ** 2).sum(2).mean(1)
    path = PenaltyPath(tried, (left_out.argmax(2) == labels).mean(1), error)
    penalty = float(tried[path.chosen])
    # principal axes are orthogonal: each has a regression of its own
    weight = (wanted.T @ rows) / ((rows**2).sum(0) + penalty) @ axes
    return Ridge(LinearHead(*table.on_pooled(weight, wanted.mean(0)), penalty, path), left_out)


def _left_out(rows: np.ndarray, wanted: np.ndarray, penalties: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return (P, N, K) for centred rows (N, r) along principal axes and what is wanted (N, K) of them.

    With H the matrix that makes fitted values of wanted ones, left-out errors of a group are
    (1 - H of the group)^-1 times its errors.
    """
    squares = (rows**2).sum(0)
    sides = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    alone = len(sides) == len(groups)
    result = np.empty((len(penalties), *wanted.shape))
    for position, penalty in enumerate(penalties):
        shrunk = rows / (squares + penalty)
        errors = wanted - wanted.mean(0) - shrunk @ (rows.T @ wanted)
        if alone:
            errors /= (1 - 1 / len(rows) - (shrunk * rows).sum(1))[:, None]
        else:
            for side in sides:
                kept = np.eye(len(side)) - 1 / len(rows) - shrunk[side] @ rows[side].T
                errors[side] = np.linalg.solve(kept, errors[side])
        result[position] = wanted - errors
    return result
