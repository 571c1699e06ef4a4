"""A head by logistic regression, with the penalty that does best on pictures it was not solved on."""

from collections.abc import Sequence

import numpy as np

from thawline.training.solve.features import rotated, standardised
from thawline.training.solve.head import LinearHead, penalty_path
from thawline.training.solve.left_out import FOLDS, folds_of, left_out, path_of
from thawline.training.solve.minimise import regressions
from thawline.training.solve.targets import Targets


def logistic_head(
    cuts: Sequence[np.ndarray], targets: Targets, *, penalty: float | None = None
) -> LinearHead:
    """Return the head that multinomial logistic regression finds on the standardised features (N, D) at
    `cuts`.

    The penalty is 1 / C of scikit-learn's LogisticRegression. Where none is given, the log-loss of
    out-of-fold predictions (stratified folds, groups together) chooses from nine, from 10 to 1/1000 of the
    number of columns, of equals the largest. They are tried from the largest on, until two in a row are
    worse than the best. Where no class has two pictures nothing can be left out, and the middle one is taken.
    Columns are standardised over all rows, those of left-out pictures included.

    Raises UserError where the minimum is not found.
    """
    table = standardised(cuts)
    rows, axes = rotated(table.rows)
    tried, path = penalty_path(len(table.mean)), None
    if penalty is None:
        asked = left_out(rows, targets, folds_of(targets, FOLDS, 0))
        path = path_of(rows, targets, tried, asked)[0] if asked else None
        penalty = float(tried[path.chosen if path else len(tried) // 2])
    # robust losses are solved from the cross-entropy's solution, at the penalty itself
    warm = [value for value in tried if value > penalty and targets.loss.plain]
    *_, (weight, bias) = regressions(rows, targets.shares, [*warm, penalty], loss=targets.loss)
    return LinearHead(*table.on_columns(weight @ axes, bias), penalty, path)
