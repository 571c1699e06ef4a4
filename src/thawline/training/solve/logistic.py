"""A head by logistic regression, with the penalty that does best on pictures it was not solved on."""

from collections.abc import Sequence

import numpy as np

from thawline.training.solve.features import CutFeatures, pooled, rotated, standardised
from thawline.training.solve.head import LinearHead, penalty_path
from thawline.training.solve.left_out import FOLDS, folds_of, left_out, path_of
from thawline.training.solve.minimise import regressions
from thawline.training.solve.targets import Targets


def logistic_head(
    cuts: Sequence[CutFeatures],
    targets: Targets,
    *,
    penalty: float | None = None,
    penalties: Sequence[float] | None = None,
    held_out: tuple[Sequence[CutFeatures], np.ndarray] | None = None,
    folds: int = FOLDS,
    seed: int = 0,
) -> LinearHead:
    """Return the head that multinomial logistic regression finds on the standardised columns of `cuts`.

    The penalty is 1 / C of scikit-learn's LogisticRegression. Where none is given, the log-loss on left-out
    rows chooses from `penalties`, of equals the largest. Columns are standardised over all rows, those of
    left-out pictures included.

    Args:
        penalties: positive; None: nine, from 10 to 1/1000 of the number of columns. They are tried from the
            largest on, until two in a row are worse than the best.
        held_out: features of other pictures and their labels, to choose by; None: out-of-fold predictions
            of these (`folds` stratified folds, groups together, shuffled by `seed`). Where no class has two
            pictures nothing can be left out, and the middle of `penalties` is taken.

    Raises UserError where the minimum is not found.
    """
    table = standardised(cuts)
    rows, axes = rotated(table.rows)
    tried = penalty_path(len(table.mean), -3, 1, 9) if penalties is None else -np.sort(-np.array(penalties))
    path = None
    if penalty is None:
        if held_out is None:
            asked = left_out(rows, targets, folds_of(targets, folds, seed))
        else:
            other = Targets(
                held_out[1], targets.classes, class_weights=targets.class_weights, loss=targets.loss
            )
            others = (pooled(held_out[0]) - table.mean) * table.scale @ axes.T
            asked = [(np.full(len(rows), True), others, other)]
        path = path_of(rows, targets, tried, asked)[0] if asked else None
        penalty = float(tried[path.chosen if path else len(tried) // 2])
    # robust losses are solved from the cross-entropy's solution, at the penalty itself
    warm = [value for value in tried if value > penalty and targets.loss.plain]
    *_, (weight, bias) = regressions(rows, targets.shares, [*warm, penalty], loss=targets.loss)
    return LinearHead(*table.on_pooled(weight @ axes, bias), penalty, path)
