"""Ridge in closed form is ridge, and what it says of pictures left out is what refitting would say."""

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from thawline.training.solve.features import standardised
from thawline.training.solve.ridge import left_out_scores

Draw = Callable[..., tuple[np.ndarray, np.ndarray]]


def by_refitting(rows: np.ndarray, wanted: np.ndarray, groups: np.ndarray, penalty: float) -> np.ndarray:
    """What heads say of each row that were fitted without its group."""
    found = np.empty_like(wanted)
    for group in np.unique(groups):
        out = groups == group
        found[out] = Ridge(alpha=penalty, solver="svd").fit(rows[~out], wanted[~out]).predict(rows[out])
    return found


@pytest.mark.parametrize("columns", [5, 40])
@pytest.mark.parametrize("grouped", [False, True])
def test_scores_of_pictures_left_out_are_those_of_refitting_at_the_penalty_of_the_smallest_error(
    columns: int, grouped: bool, draw: Draw
) -> None:
    values, labels = draw(18, columns, 3)
    groups = np.arange(18) // 4 if grouped else np.arange(18)
    penalty, scores = left_out_scores(values, labels, 3, groups)
    rows, wanted = standardised([values]).rows, np.eye(3)[labels]
    assert scores == pytest.approx(by_refitting(rows, wanted, groups, penalty), abs=1e-8)
    tried = columns * np.logspace(3, -3, 13)
    errors = [((by_refitting(rows, wanted, groups, each) - wanted) ** 2).sum(1).mean() for each in tried]
    assert penalty == pytest.approx(tried[np.argmin(errors)])


def test_leaving_out_the_only_group_is_refused() -> None:
    with pytest.raises(ValueError, match="the only group"):
        left_out_scores(np.eye(3), np.arange(3), 3, np.zeros(3))
