"""Ridge regression in closed form with exact leave-one-out predictions: compares sources quickly."""

import numpy as np

from thawline.training.solve.features import rotated, standardised
from thawline.training.solve.head import PenaltyPath, penalty_path


def left_out_scores(
    features: np.ndarray, labels: np.ndarray, classes: int, groups: np.ndarray
) -> tuple[float, np.ndarray]:
    """Regress indicators of the classes (0 or 1) on the standardised columns of features (N, D); return the
    penalty, and (N, K): what a head solved without the row, or without all rows of its group, says of it.

    sum((indicator - score) ** 2) + penalty * sum(weight ** 2) is made smallest; the bias is not penalised.
    Left-out predictions are those of refitting without the rows (Allen 1974, PRESS), columns standardised
    over all rows. Of 13 penalties, from 1000 to 1/1000 of the number of columns, the one with the smallest
    left-out squared error is chosen, of equals the largest.

    Args:
        labels: (N,) in 0 .. classes - 1.
        groups: (N,) equal for rows that are left out together. At least two differ.
    """
    if len(np.unique(groups)) < 2:
        raise ValueError("nothing is left once the only group is left out")
    rows, wanted = rotated(standardised([features]).rows)[0], np.eye(classes)[labels]
    tried = penalty_path(features.shape[1], 3, 13)
    scores = _left_out(rows, wanted, tried, groups)
    error = ((scores - wanted) ** 2).sum(2).mean(1)
    chosen = PenaltyPath(tried, (scores.argmax(2) == labels).mean(1), error).chosen
    return float(tried[chosen]), scores[chosen]


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
