"""The recommended depth is the cheapest that is as good as the best, as far as the pictures can tell."""

import numpy as np
import pytest
from tests_studies import HUMP, PLATEAU, SLOPE, STEEP, at_depth, depth_study

from thawline.statistics.comparisons import could_be_best
from thawline.statistics.depths import AtDepth, resampled
from thawline.statistics.recommendation import pictures_needed, recommend


def shares(
    curve: tuple[float, ...], seeds: int, images: int, studies: int, tolerance: float | None = 0.01
) -> tuple[float, float]:
    """The shares of simulated studies whose recommended depth is truly within two points of the best, and
    in which the truly best depth (the deepest of several) is among the indistinguishable ones."""
    generator = np.random.default_rng([seeds, images])
    near, kept = [], []
    top = max(depth for depth, accuracy in enumerate(curve) if accuracy == max(curve))
    for seed in range(studies):
        points = depth_study(generator, curve, seeds, images)
        found = recommend(points, tolerance=tolerance, resamples=300, seed=seed)
        near.append(max(curve) - curve[found.chosen.depth] <= 0.02 + 1e-9)
        kept.append(top in found.alike)
    return float(np.mean(near)), float(np.mean(kept))


@pytest.mark.parametrize("curve", [PLATEAU, HUMP])
def test_the_recommended_depth_is_within_two_points_of_the_best(curve: tuple[float, ...]) -> None:
    near, kept = shares(curve, seeds=5, images=150, studies=30)
    assert near >= 0.95
    assert kept >= 0.95


@pytest.mark.slow
@pytest.mark.parametrize("curve", [PLATEAU, SLOPE, HUMP, STEEP], ids=["plateau", "slope", "hump", "steep"])
@pytest.mark.parametrize(("seeds", "images"), [(3, 200), (5, 100)])
def test_the_recommended_depth_is_within_two_points_of_the_best_in_any_study(
    curve: tuple[float, ...], seeds: int, images: int
) -> None:
    near, kept = shares(curve, seeds, images, studies=300)
    assert near >= 0.95
    assert kept >= 0.95


def test_in_a_steep_curve_the_top_is_found() -> None:
    assert shares(STEEP, seeds=5, images=150, studies=30)[0] >= 0.95


@pytest.mark.slow
def test_the_cheapest_indistinguishable_depth_is_often_much_worse_than_the_best() -> None:
    # why there is a tolerance
    assert shares(PLATEAU, seeds=5, images=200, studies=300, tolerance=None)[0] < 0.85
    assert shares(PLATEAU, seeds=5, images=50, studies=300, tolerance=None)[0] < 0.25


def test_a_maximum_among_equals_is_no_evidence() -> None:
    # Without a correction for having been selected, some of nine equals falls behind most of the time.
    generator = np.random.default_rng(0)
    whole = [
        could_be_best(resampled(depth_study(generator, (0.85,) * 9, 3, 150), resamples=300), 0.95).all()
        for _ in range(30)
    ]
    assert np.mean(whole) >= 0.8


RIGHT = np.arange(200)


def curve_of(*right: int) -> list[AtDepth]:
    """Depths that are right on the first so many of 200 pictures, in three equal seeds."""
    return [at_depth(depth, np.stack([number > RIGHT] * 3)) for depth, number in enumerate(right)]


def test_where_the_lead_is_clear_the_leader_stands_alone() -> None:
    found = recommend(curve_of(180, 130, 90))
    assert (found.chosen.depth, found.chosen.unit, found.best.depth) == (0, None, 0)
    assert found.alike == (0,)
    assert found.pictures_needed is None


def test_of_indistinguishable_depths_the_most_frozen_is_recommended() -> None:
    found = recommend(curve_of(180, 181, 180, 90))
    assert (found.chosen.depth, found.chosen.unit, found.best.depth) == (2, "unit2", 1)
    assert found.alike == (0, 1, 2)


def noisy(*accuracies: float, images: int = 60) -> list[AtDepth]:
    """Depths that are right on different pictures, so that little can be told."""
    return [
        at_depth(depth, np.roll(np.arange(images) < round(accuracy * images), 15 * depth))
        for depth, accuracy in enumerate(accuracies)
    ]


def test_a_depth_that_measured_clearly_lower_is_not_recommended_for_want_of_pictures() -> None:
    found = recommend(noisy(0.8, 0.8, 0.7))
    assert found.alike == (0, 1, 2)
    assert found.chosen.depth == 1
    literal = recommend(noisy(0.8, 0.8, 0.7), tolerance=None)
    assert literal.chosen.depth == 2
    within = recommend(noisy(0.8, 0.81, 0.8, 0.7), tolerance=0.02)
    assert within.chosen.depth == 2


def test_dearer_depths_that_measured_lower_are_not_spoken_of() -> None:
    found = recommend(noisy(0.7, 0.8, 0.8))
    assert (found.chosen.depth, found.alike) == (2, (0, 1, 2))


def test_one_depth_is_recommended_for_want_of_another() -> None:
    found = recommend(curve_of(180))
    assert (found.chosen.depth, found.alike) == (0, (0,))


@pytest.mark.parametrize("right", [0, 150, 200])
def test_of_equal_depths_the_most_frozen_is_recommended(right: int) -> None:
    found = recommend(curve_of(right, right, right))
    assert (found.chosen.depth, found.alike) == (2, (0, 1, 2))
    assert found.pictures_needed is None


@pytest.mark.parametrize("images", [1, 2, 3, 4, 5, 6])
def test_a_handful_of_pictures_proves_as_little_as_the_sign_test_says(images: int) -> None:
    # All pictures speak for depth 0, which happens by chance with the probability 2^-images.
    found = recommend([at_depth(0, np.ones(images)), at_depth(1, np.zeros(images))])
    assert found.alike == ((0, 1) if 0.5**images > 0.05 else (0,))
    assert found.chosen.depth == 0


def test_pictures_of_one_object_count_as_one() -> None:
    objects = np.repeat(np.arange(10), 20)
    points = [at_depth(depth, objects < right) for depth, right in enumerate((9, 7))]
    assert recommend(points).alike == (0,)
    grouped = recommend(points, objects)
    assert grouped.alike == (0, 1)
    assert recommend(points, np.zeros(200)).alike == (0, 1)


def test_as_many_pictures_as_said_show_two_points_four_times_in_five() -> None:
    # Two depths that differ on 10 % of the pictures, by 2 points in the mean.
    generator = np.random.default_rng(0)

    def answers(images: int) -> np.ndarray:
        draw = generator.random(images)
        return np.stack([draw > 0.04, (draw < 0.04) | (draw > 0.10)]).astype(float)

    points = [at_depth(depth, row) for depth, row in enumerate(answers(20_000))]
    needed = pictures_needed(points, resampled(points, resamples=2), np.array([True, True]), 0.95)
    assert needed == 2000
    seen = []
    for _ in range(400):
        gap = np.subtract(*answers(needed)[::-1])
        seen.append(abs(gap.mean()) > 1.96 * gap.std() / np.sqrt(needed))
    assert np.mean(seen) == pytest.approx(0.8, abs=0.06)


def test_equal_seeds_repeat_exactly() -> None:
    points = depth_study(np.random.default_rng(0), PLATEAU, seeds=3, images=50)
    assert recommend(points, seed=5) == recommend(points[::-1], seed=5)
