"""The winner's score is what it will be on other pictures, however many trials it had to beat."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from thawline.statistics.depths import AtDepth
from thawline.statistics.intervals import accuracy_interval
from thawline.statistics.recommendation import TOLERANCE, recommend
from thawline.statistics.selection_bias import corrected, corrected_depth


def guesses(generator: np.random.Generator, trials: int, images: int, alike: float) -> np.ndarray:
    """Trials on random labels of two classes; `alike` is the share of pictures they all answer alike."""
    common = generator.random(images) < 0.5
    own = generator.random((trials, images)) < 0.5
    return np.where(generator.random((trials, images)) < alike, common, own).astype(float)


def naive_interval(correct: np.ndarray) -> tuple[float, float]:
    """What is usually reported: the best trial's accuracy and 1.96 binomial standard errors."""
    naive = correct.mean(1).max()
    half = 1.96 * np.sqrt(naive * (1 - naive) / correct.shape[1])
    return naive - half, naive + half


def covering(trials: int, images: int, alike: float, studies: int = 40) -> tuple[int, int, float]:
    """In how many studies on random labels the corrected and the naive interval hold chance; and the
    mean corrected score."""
    generator = np.random.default_rng([trials, images, int(10 * alike)])
    tried = [guesses(generator, trials, images, alike) for _ in range(studies)]
    found = [corrected(correct, resamples=500, seed=seed) for seed, correct in enumerate(tried)]
    honest = sum(low <= 0.5 <= high for _, low, high in found)
    naive = sum(low <= 0.5 <= high for low, high in map(naive_interval, tried))
    return honest, naive, float(np.mean([mean for mean, _, _ in found]))


def test_on_random_labels_the_interval_covers_chance_and_the_best_trials_does_not() -> None:
    honest, naive, mean = covering(trials=40, images=100, alike=0.0)
    assert honest >= 36
    assert naive < 20
    assert mean == pytest.approx(0.5, abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("images", [20, 100, 300])
@pytest.mark.parametrize("trials", [1, 24, 200])
@pytest.mark.parametrize("alike", [0.0, 0.9])
def test_on_random_labels_of_any_study_the_interval_covers_chance(
    trials: int, images: int, alike: float
) -> None:
    honest, naive, mean = covering(trials, images, alike, studies=200)
    assert honest >= 0.9 * 200
    assert mean == pytest.approx(0.5, abs=0.03)
    if trials >= 24 and alike == 0.0:
        assert naive < 0.9 * 200


def test_what_chose_among_the_epochs_of_a_trial_is_not_seen() -> None:
    generator = np.random.default_rng(0)
    found = []
    for seed in range(20):
        epochs = (generator.random((6, 10, 100)) < 0.5).astype(float)
        best = epochs[np.arange(6), epochs.mean(2).argmax(1)]
        found.append(corrected(best, resamples=300, seed=seed)[0])
    assert np.mean(found) > 0.53


def differing(
    generator: np.random.Generator, trials: int, images: int, spread: float
) -> tuple[np.ndarray, np.ndarray]:
    """Trials of about 85 % whose true accuracies differ; pictures differ in difficulty."""
    skill = generator.normal(2.5, 6 * spread, (trials, 1))
    right = expit(skill + generator.normal(0, 1.5, 4000))
    return (generator.random((trials, images)) < right[:, :images]).astype(float), right.mean(1)


@pytest.mark.parametrize("spread", [0.02, 0.2])
def test_where_trials_differ_the_interval_covers_what_the_winner_achieves(spread: float) -> None:
    generator = np.random.default_rng(0)
    covered, bias, width = [], [], []
    for seed in range(50):
        correct, truth = differing(generator, 20, 150, spread)
        mean, low, high = corrected(correct, resamples=300, seed=seed)
        achieved = truth[correct.mean(1).argmax()]
        covered.append(low <= achieved <= high)
        bias.append(mean - achieved)
        width.append(high - low)
    assert np.mean(covered) >= 0.9
    assert abs(np.mean(bias)) < 0.015
    assert np.mean(width) < 0.15


def test_a_clear_winner_keeps_its_score_and_the_interval_of_one_model() -> None:
    generator = np.random.default_rng(0)
    correct = (generator.random((30, 400)) < 0.5).astype(float)
    correct[7] = generator.random(400) < 0.9
    mean, *interval = corrected(correct)
    assert mean == pytest.approx(correct[7].mean(), abs=0.003)
    assert interval == pytest.approx(naive_interval(correct), abs=0.008)


def test_pictures_of_one_object_widen_the_interval() -> None:
    objects = np.repeat(np.arange(25), 8)
    correct = (np.random.default_rng(0).random((5, 25)) < 0.7).astype(float)[:, objects]
    (_, low, high), (_, lower, higher) = corrected(correct), corrected(correct, objects)
    assert higher - lower > 2 * (high - low)


def test_ties_go_to_the_lower_loss_and_then_to_the_earlier_trial() -> None:
    # two objects: where the first alone was drawn, both trials are right on one of its pictures, and the one
    # that is taken is scored on the second, on which the first trial is always right and the second never;
    # where the second was drawn, the first trial wins and is right on half of the first
    correct, objects = np.array([[1, 0, 1, 1], [0, 1, 0, 0]]), [0, 0, 1, 1]

    def first_wins(order: list[int], losses: np.ndarray | None = None) -> bool:
        mean, _, _ = corrected(correct[order], np.array(objects), losses=losses)
        assert mean == pytest.approx(0.75, abs=0.03) or mean == pytest.approx(0.25, abs=0.03)
        return mean > 0.5

    assert first_wins([0, 1])
    assert not first_wins([1, 0])
    assert not first_wins([0, 1], np.array([2.0, 1.0]))
    assert first_wins([0, 1], np.array([2.0, 2.0]))
    # per picture, those of the drawn pictures count
    assert not first_wins([0, 1], np.array([[2.0, 0, 0, 0], [0, 1, 9, 9]]))


def test_the_losses_of_the_drawn_pictures_break_ties_in_each_resample() -> None:
    # Two equal trials: which of them is scored cannot matter, so neither can the loss.
    right = np.random.default_rng(0).random(60) < 0.8
    correct = np.stack([right, right]).astype(float)
    losses = np.random.default_rng(1).random((2, 60))
    assert corrected(correct, losses=losses) == corrected(correct)


def test_a_single_group_says_nothing() -> None:
    assert corrected(np.ones((3, 5)), np.zeros(5)) == (1.0, 0.0, 1.0)


def test_all_right_is_no_certainty() -> None:
    mean, low, high = corrected(np.ones((3, 30)))
    assert (mean, high) == (1.0, 1.0)
    assert low == pytest.approx(0.884, abs=0.001)


def test_equal_seeds_repeat_exactly() -> None:
    correct = np.random.default_rng(0).random((6, 40)) < 0.8
    assert corrected(correct, seed=1) == corrected(correct, seed=1)
    assert corrected(correct, seed=1) != corrected(correct, seed=2)


def test_nothing_to_choose_from_is_refused() -> None:
    with pytest.raises(ValueError, match="0 trials on 4 pictures"):
        corrected(np.zeros((0, 4)))


Study = tuple[list[np.ndarray], list[np.ndarray]]
"""Trials and fresh seeds of each depth."""


def guessing_depths(generator: np.random.Generator, depths: int, images: int, alike: float) -> Study:
    """Six trials and five seeds of the winner at each depth, all of which guess; the seeds of one recipe
    answer the share `alike` of the pictures as its trial did."""
    trials, fresh = [], []
    for _ in range(depths):
        trials.append(generator.random((6, images)) < 0.5)
        winner = trials[-1][trials[-1].mean(1).argmax()]
        own = generator.random((5, images)) < 0.5
        fresh.append(np.where(generator.random((5, images)) < alike, winner, own).astype(float))
    return [each.astype(float) for each in trials], fresh


def both(study: Study, seed: int) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """The corrected accuracy at the recommended depth, and its fresh seeds' own; mean, low and high."""
    trials, fresh = study
    points = [AtDepth(depth, None, each, 1.0, 1) for depth, each in enumerate(fresh)]
    chosen = recommend(points, resamples=200, seed=seed).chosen.depth
    own = (float(fresh[chosen].mean()), *accuracy_interval(fresh[chosen]))
    return corrected_depth(trials, fresh, chosen, tolerance=TOLERANCE, resamples=300, seed=seed), own


def test_on_random_labels_fresh_seeds_flatter_the_recommended_depth_and_the_correction_does_not() -> None:
    generator = np.random.default_rng(0)
    found = [both(guessing_depths(generator, 6, 100, alike=0.9), seed) for seed in range(40)]
    honest, fresh = np.array(found).transpose(1, 2, 0)
    assert np.sum((honest[1] <= 0.5) & (honest[2] >= 0.5)) >= 36
    assert np.sum((fresh[1] <= 0.5) & (fresh[2] >= 0.5)) < 36
    assert honest[0].mean() == pytest.approx(0.5, abs=0.02)
    assert fresh[0].mean() > 0.55


@pytest.mark.slow
@pytest.mark.parametrize("images", [30, 400])
@pytest.mark.parametrize("depths", [1, 9])
@pytest.mark.parametrize("alike", [0.0, 1.0])
def test_on_random_labels_of_any_depth_curve_the_correction_covers_chance(
    images: int, depths: int, alike: float
) -> None:
    generator = np.random.default_rng([images, depths, int(10 * alike)])
    found = [both(guessing_depths(generator, depths, images, alike), seed)[0] for seed in range(100)]
    mean, low, high = np.array(found).T
    assert np.mean((low <= 0.5) & (high >= 0.5)) >= 0.93
    assert mean.mean() == pytest.approx(0.5, abs=0.03 if images >= 100 else 0.05)


def test_with_one_depth_and_one_seed_of_each_recipe_it_is_the_correction_of_a_study() -> None:
    trials = guesses(np.random.default_rng(1), 6, 80, alike=0.3)
    found = corrected_depth([trials], [trials[:1]], 0, seed=3)
    assert found == pytest.approx(corrected(trials, seed=3))


def test_depths_that_are_clearly_worse_do_not_count() -> None:
    generator = np.random.default_rng(2)
    good = (generator.random((6, 200)) < 0.9).astype(float)
    bad = (generator.random((6, 200)) < 0.5).astype(float)
    alone = corrected_depth([good], [good[:3]], 0)
    assert corrected_depth([good, bad], [good[:3], bad[:3]], 0) == pytest.approx(alone)


def test_a_depth_curve_on_a_single_group_says_nothing() -> None:
    trials = np.array([[1.0, 1, 1, 0], [1, 0, 0, 0]])
    found = corrected_depth([trials], [trials[:1]], 0, groups=np.zeros(4, int))
    assert found == (0.75, 0.0, 1.0)


@given(st.integers(1, 4), st.integers(2, 12), st.booleans(), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_the_corrected_depth_lies_within_its_interval_and_that_in_0_to_1(
    depths: int, images: int, grouped: bool, seed: int
) -> None:
    study = guessing_depths(np.random.default_rng(seed), depths, images, alike=0.5)
    groups = np.arange(images) // 2 if grouped else None
    mean, low, high = corrected_depth(*study, depths - 1, groups, resamples=50, seed=seed)
    assert 0 <= low <= mean <= high <= 1
    assert corrected_depth(*study, depths - 1, groups, resamples=50, seed=seed) == (mean, low, high)
