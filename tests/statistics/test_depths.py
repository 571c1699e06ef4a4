"""Accuracies at several depths are resampled on the pictures they share."""

import numpy as np
import pytest
from tests_studies import PLATEAU, at_depth, depth_study

from thawline.statistics.depths import best, resampled


def test_of_equal_accuracies_the_most_frozen_is_best() -> None:
    assert best(np.array([0.8, 0.9, 0.9, 0.7])) == 2


def test_equal_seeds_repeat_exactly_and_other_depths_do_not_matter() -> None:
    points = depth_study(np.random.default_rng(0), PLATEAU, seeds=4, images=80)
    every, some = resampled(points, seed=3), resampled([points[6], points[2]], seed=3)
    np.testing.assert_allclose(every.draws[[6, 2]], some.draws, atol=1e-12)
    assert not np.allclose(every.draws, resampled(points, seed=4).draws)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([], "at least one of each"),
        ([at_depth(0, np.ones((0, 5)))], "at least one of each"),
        ([at_depth(0, np.ones(5)), at_depth(1, np.ones(6))], "different numbers of pictures"),
        ([at_depth(1, np.ones(5)), at_depth(1, np.ones(5))], "given twice"),
    ],
)
def test_what_cannot_be_compared_is_refused(points: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        resampled(points)
