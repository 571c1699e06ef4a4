"""Differences cancel what is hard for both, hold the truth, and are never without width."""

import numpy as np
import pytest

from thawline.statistics.intervals import accuracy_interval
from thawline.statistics.paired import difference_interval


def test_pictures_hard_for_both_cancel() -> None:
    right = np.random.default_rng(0).random(200) < 0.5
    better = right.copy()
    better[np.flatnonzero(~right)[:14]] = True
    low, high = difference_interval(better[None] * 1.0, right[None] * 1.0, np.arange(200), 0.95)
    assert 0 < low < 0.07 < high
    assert high - low < np.diff(accuracy_interval(better[None])) / 1.5


def test_two_that_never_disagree_may_do_so_on_the_next_picture() -> None:
    same = np.ones((2, 50))
    low, high = difference_interval(same, same, np.arange(50), 0.95)
    assert (low, high) == (pytest.approx(-0.057, abs=0.001), pytest.approx(0.057, abs=0.001))


def test_no_difference_of_shares_is_more_than_one() -> None:
    assert difference_interval(np.ones((1, 5)), np.zeros((1, 5)), np.arange(5), 0.95)[1] == 1
    assert difference_interval(np.ones((1, 5)), np.zeros((1, 5)), np.zeros(5, int), 0.95) == (-1, 1)


def test_pictures_of_one_object_and_seeds_that_disagree_widen_it() -> None:
    right, none = (np.arange(200) < 150)[None] * 1.0, np.zeros((1, 200))
    alone = np.diff(difference_interval(right, none, np.arange(200), 0.95))
    assert np.diff(difference_interval(right, none, np.arange(200) // 10, 0.95)) > 2 * alone
    seeds = np.concatenate([right, right * 0.5, right])
    assert np.diff(difference_interval(seeds, none, np.arange(200), 0.95)) > 2 * alone


@pytest.mark.parametrize(("seeds", "pictures"), [(1, 30), (3, 120)])
def test_nineteen_of_twenty_differences_of_equals_hold_zero(seeds: int, pictures: int) -> None:
    random = np.random.default_rng(seeds)
    hard = random.random((500, 1, 1, pictures))
    right = 1.0 * (random.normal(0.4, 0.1, (500, 2, seeds, pictures)) < hard)
    ends = [difference_interval(*both, np.arange(pictures), 0.95) for both in right]
    assert np.mean([low <= 0 <= high for low, high in ends]) >= 0.94
