"""Accuracy against pictures, and what is drawn out from it."""

import numpy as np
import pytest

from thawline.review.findings import MorePictures
from thawline.review.more_pictures import SHARES, more_pictures
from thawline.review.out_of_fold import OutOfFold

PICTURES = 400
LABELS = np.zeros(PICTURES, int)


def measured(accuracies: list[float], sizes: list[float], repeats: int = 4, seed: int = 0) -> MorePictures:
    """Return what is said of heads with these accuracies; a picture is as hard for one as for another."""
    generator = np.random.default_rng(seed)
    hard = generator.permutation((np.arange(PICTURES) + 0.5) / PICTURES)
    curve = []
    for size, accuracy in zip(sizes, accuracies, strict=True):
        right = np.clip(hard + generator.normal(0, 0.05, (repeats, PICTURES)), 0, 1) < accuracy
        curve.append(OutOfFold(size, np.stack([right, ~right], axis=2).astype(float)))
    return more_pictures(curve, LABELS, np.arange(PICTURES), PICTURES, confidence=0.95, seed=0)


@pytest.mark.parametrize("exponent", [0.25, 0.5, 1.0])
def test_a_power_law_is_followed_to_twice_as_many_pictures(exponent: float) -> None:
    sizes = [0.8 * PICTURES * share for share in SHARES]
    errors = [0.05 + 0.1 * (size / PICTURES) ** -exponent for size in sizes]
    found = measured([1 - error for error in errors], sizes)
    assert [point.pictures for point in found.points] == [round(size) for size in sizes]
    for point, error in zip(found.points, errors, strict=True):
        assert point.low < 1 - error < point.high
    assert found.twice is not None
    assert found.twice.pictures == 2 * PICTURES
    truth = 1 - (0.05 + 0.1 * 2**-exponent)
    assert found.twice.low < truth < found.twice.high
    assert found.twice.accuracy == pytest.approx(truth, abs=0.025)


def test_the_sentence_says_what_twice_as_many_bring_and_what_that_supposes() -> None:
    sizes = [0.8 * PICTURES * share for share in SHARES]
    said = measured([0.6, 0.66, 0.71, 0.75, 0.78], sizes).sentence
    assert said.startswith("Twice as many pictures (800): +")
    for words in ("points", "these 400", "labels as good", "fine-tuning"):
        assert words in said


def test_more_pictures_do_not_help_where_the_curve_is_flat() -> None:
    found = measured([0.9] * 5, [0.8 * PICTURES * share for share in SHARES])
    assert found.twice is not None
    assert found.twice.accuracy == pytest.approx(0.9, abs=0.015)
    assert "+0.0 to" in found.sentence


def test_two_points_are_shown_and_not_drawn_out() -> None:
    found = measured([0.7, 0.8], [20, 40])
    assert len(found.points) == 2
    assert found.twice is None
    assert "too few pictures" in found.sentence


@pytest.mark.parametrize("repeats", [1, 4])
def test_where_all_are_right_the_interval_holds_that_and_no_more(repeats: int) -> None:
    found = measured([1.0] * 5, [0.8 * PICTURES * share for share in SHARES], repeats)
    assert found.twice is not None
    # means of resampled ones are rounded, and a figure refuses a negative length
    assert 0 <= found.twice.low <= found.twice.accuracy <= found.twice.high <= 1
