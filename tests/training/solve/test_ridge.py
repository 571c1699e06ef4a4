"""Ridge in closed form is ridge, and what it says of pictures left out is what refitting would say."""

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.linear_model import Ridge as ByScikitLearn

from thawline.training.solve.features import CutFeatures, standardised
from thawline.training.solve.ridge import ridge

Draw = Callable[..., tuple[np.ndarray, np.ndarray]]


@pytest.mark.parametrize("columns", [5, 40])
@pytest.mark.parametrize("grouped", [False, True])
def test_predictions_of_pictures_left_out_are_those_of_refitting(
    columns: int, grouped: bool, draw: Draw
) -> None:
    values, labels = draw(18, columns, 3)
    cuts, penalties = [CutFeatures(values)], [30.0, 0.5]
    groups = np.arange(18) // 4 if grouped else np.arange(18)
    found = ridge(cuts, labels, 3, penalties=penalties, groups=groups if grouped else None)
    rows, wanted = standardised(cuts).rows, np.eye(3)[labels]
    for position, penalty in enumerate(penalties):
        for group in np.unique(groups):
            out = groups == group
            refitted = ByScikitLearn(alpha=penalty, solver="svd").fit(rows[~out], wanted[~out])
            assert found.left_out[position, out] == pytest.approx(refitted.predict(rows[out]), abs=1e-8)


def test_the_head_is_the_ridge_regression_with_the_smallest_left_out_error(draw: Draw) -> None:
    values, labels = draw(30, 50, 3)
    cuts = [CutFeatures(values)]
    found = ridge(cuts, labels, 3)
    assert found.head.path is not None
    errors = ((found.left_out - np.eye(3)[labels]) ** 2).sum(2).mean(1)
    assert found.head.path.loss == pytest.approx(errors)
    assert found.head.penalty == found.head.path.penalties[errors.argmin()]
    rows = standardised(cuts).rows
    wanted = ByScikitLearn(alpha=found.head.penalty, solver="svd").fit(rows, np.eye(3)[labels]).predict(rows)
    assert found.head.logits(cuts) == pytest.approx(wanted, abs=1e-8)


def test_leaving_out_the_only_group_is_refused() -> None:
    with pytest.raises(ValueError, match="the only group"):
        ridge([CutFeatures(np.eye(3))], np.arange(3), 3, groups=np.zeros(3))
