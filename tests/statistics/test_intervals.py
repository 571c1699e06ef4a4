"""Intervals hold the truth as often as they say, are never without width, and stay in range."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from thawline.statistics import accuracy_interval
from thawline.statistics.intervals import (
    calibration_interval,
    loss_interval,
    proportion_interval,
    resampled_share_interval,
)

answers = st.tuples(
    st.integers(1, 4), st.integers(1, 25), st.integers(0, 10**6), st.sampled_from([0, 0.5, 0.9, 1])
)


def drawn(shape: tuple[int, int, int, float]) -> np.ndarray:
    seeds, pictures, seed, accuracy = shape
    return (np.random.default_rng(seed).random((seeds, pictures)) < accuracy).astype(float)


def covered(studies: np.ndarray, truth: float, groups: np.ndarray | None = None) -> float:
    """Return the share of `studies` (R, S, N) whose interval holds the truth."""
    ends = [accuracy_interval(correct, groups=groups) for correct in studies]
    return float(np.mean([low <= truth <= high for low, high in ends]))


@pytest.mark.parametrize(("pictures", "accuracy"), [(30, 0.98), (30, 0.5), (300, 0.99)])
def test_one_model_at_any_accuracy(pictures: int, accuracy: float) -> None:
    """Plain percentiles cover 45 % of the first of these."""
    rights = np.random.default_rng(0).binomial(pictures, accuracy, 2000)
    ends = {right: accuracy_interval((np.arange(pictures) < right)[None]) for right in np.unique(rights)}
    assert np.mean([ends[right][0] <= accuracy <= ends[right][1] for right in rights]) >= 0.94


@pytest.mark.parametrize("deviation", [0.0, 0.03])
def test_the_mean_of_three_seeds(deviation: float) -> None:
    """Wilson's interval of the mean covers 70 % of the second of these."""
    random = np.random.default_rng(1)
    levels = random.normal(0.94, deviation, (500, 3, 1))
    assert covered(random.random((500, 3, 300)) < levels, 0.94) >= 0.94


@pytest.mark.parametrize(("count", "size"), [(15, 8), (60, 4)])
def test_pictures_in_groups(count: int, size: int) -> None:
    random = np.random.default_rng(2)
    easy = random.beta(0.9, 0.1, (500, 1, count)).repeat(size, axis=2)  # a correlation of one half
    groups = np.repeat(np.arange(count), size)
    assert covered(random.random(easy.shape) < easy, 0.9, groups) >= 0.94


def test_it_is_not_much_wider_than_wilsons() -> None:
    for pictures, right in ((30, 15), (30, 29), (100, 90), (1700, 1600)):
        wilson = binomtest(right, pictures).proportion_ci(method="wilson")
        low, high = accuracy_interval((np.arange(pictures) < right)[None])
        assert high - low <= 1.3 * (wilson.high - wilson.low)


@given(answers)
@settings(max_examples=60, deadline=None)
def test_it_has_a_width_holds_the_mean_and_lies_in_0_to_1(shape: tuple[int, int, int, float]) -> None:
    correct = drawn(shape)
    low, high = accuracy_interval(correct, groups=np.arange(correct.shape[1]) // 3)
    assert 0 <= low <= correct.mean() <= high <= 1
    assert high - low > 0.001


@given(answers)
@settings(max_examples=40, deadline=None)
def test_groups_of_one_are_no_groups_and_no_order_matters(shape: tuple[int, int, int, float]) -> None:
    correct = drawn(shape)
    names = [f"picture {number}" for number in range(correct.shape[1])]
    expected = accuracy_interval(correct)
    assert accuracy_interval(correct, groups=names) == pytest.approx(expected, abs=1e-9)
    assert accuracy_interval(correct[::-1, ::-1]) == pytest.approx(expected, abs=1e-9)


def test_seeds_that_disagree_and_pictures_of_one_object_widen_it() -> None:
    right = np.arange(400) % 10 > 0
    alone = np.diff(accuracy_interval(right[None]))
    assert np.diff(accuracy_interval(np.stack([right, np.arange(400) % 10 > 2]))) > 2 * alone
    assert np.diff(accuracy_interval(np.sort(right)[None], groups=np.arange(400) // 20)) > 2 * alone


@pytest.mark.parametrize(
    ("correct", "groups", "message"),
    [
        (np.ones(5), None, "at least one of each"),
        (np.ones((0, 5)), None, "at least one of each"),
        (np.full((1, 5), 1.5), None, r"a number in 0\.\.1"),
        (np.full((1, 5), np.nan), None, r"a number in 0\.\.1"),
        (np.ones((1, 5)), [1, 2], "2 groups were given for 5 pictures"),
    ],
)
def test_what_has_no_accuracy_is_refused(correct: np.ndarray, groups: list | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        accuracy_interval(correct, groups=groups)


@pytest.mark.parametrize("right", [0, 3, 12])
def test_a_proportion_has_the_exact_binomial_interval(right: int) -> None:
    exact = binomtest(right, 12).proportion_ci(method="exact")
    assert proportion_interval(right / 12, 12, 0.95) == pytest.approx((exact.low, exact.high))


def test_draws_that_vary_like_so_many_pictures_give_the_interval_of_so_many() -> None:
    draws = np.random.default_rng(0).binomial(50, 0.9, 200_000) / 50
    expected = proportion_interval(0.9, 50, 0.9)
    assert resampled_share_interval(0.9, draws, 999, 0.9) == pytest.approx(expected, abs=1e-3)
    assert resampled_share_interval(1.0, np.ones(50), 12, 0.9) == proportion_interval(1.0, 12, 0.9)


@pytest.mark.parametrize("loss", [0.0, 0.7])
def test_losses_that_are_all_alike_have_an_interval(loss: float) -> None:
    low, high = loss_interval(np.full((1, 50), loss), np.arange(50), np.log(2), 0.95)
    assert 0 <= low <= loss + 1e-9 < high < loss + 0.1


def test_the_mean_of_losses_with_rare_large_ones_is_held() -> None:
    losses = np.random.default_rng(3).gamma(0.1, 3.0, (800, 1, 60))
    ends = [loss_interval(each, np.arange(60), np.log(2), 0.95) for each in losses]
    assert np.mean([low <= 0.3 <= high for low, high in ends]) >= 0.93


def test_a_calibration_error_no_larger_than_chance_may_be_none() -> None:
    values = np.random.default_rng(0).normal(0.03, 0.1, (1, 200))
    low, high = calibration_interval(0.03, 0.025, values, np.arange(200), 0.95)
    assert (low, high) == (0.0, pytest.approx(0.046, abs=0.003))
    assert np.diff(calibration_interval(0.0, 0.0, np.zeros((1, 9)), np.arange(9), 0.95)) > 0
