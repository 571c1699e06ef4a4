"""Intervals cover what they promise, pair what is shared, and repeat exactly."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from thawline.evaluation.compare import Estimate, difference, estimates, intervals
from thawline.evaluation.metrics import METRICS, Contributions, contributions


def model_right_on(correct: np.ndarray, confidence: float = 0.75) -> Contributions:
    """A model of two classes that is right exactly on the images of `correct`; all are of class 0."""
    share = np.where(correct, confidence, 1 - confidence)
    return contributions(np.zeros(len(correct), int), np.stack([share, 1 - share], axis=1), 5)


def random_models(generator: np.random.Generator, seeds: int, images: int, level: float) -> list[np.ndarray]:
    """Which images each seed's model gets right: images differ in difficulty, seeds in quality."""
    difficulty = generator.normal(0, 1, images)
    quality = generator.normal(0, 0.25, (seeds, 1))
    return list(generator.random((seeds, images)) < expit(level + difficulty + quality))


def accuracy(estimate: Estimate, confidence: float = 0.95) -> dict[str, float]:
    return intervals(estimate, confidence)["accuracy"]


def test_nineteen_of_twenty_intervals_hold_the_true_accuracy() -> None:
    generator = np.random.default_rng(0)
    truth = np.mean([np.mean(random_models(generator, 1, 400, 1.0)) for _ in range(4000)])
    covered = []
    for repetition in range(300):
        models = [model_right_on(right) for right in random_models(generator, 3, 120, 1.0)]
        found = accuracy(estimates({"a": models}, resamples=300, seed=repetition)["a"])
        covered.append(found["low"] <= truth <= found["high"])
    assert 0.91 <= np.mean(covered) <= 0.985


def test_nineteen_of_twenty_differences_of_equals_contain_zero() -> None:
    generator = np.random.default_rng(1)
    contain = []
    for repetition in range(300):
        right = random_models(generator, 6, 120, 1.0)
        models = {"a": [model_right_on(r) for r in right[:3]], "b": [model_right_on(r) for r in right[3:]]}
        both = estimates(models, resamples=300, seed=repetition)
        found = accuracy(difference(both["a"], both["b"]))
        contain.append(found["low"] <= 0 <= found["high"])
    assert np.mean(contain) >= 0.91


def test_images_shared_by_contenders_cancel_in_their_difference() -> None:
    right = np.random.default_rng(0).random(200) < 0.5
    better = right.copy()
    better[np.flatnonzero(~right)[:10]] = True
    both = estimates({"a": [model_right_on(better)], "b": [model_right_on(right)]}, resamples=500, seed=0)
    found = accuracy(difference(both["a"], both["b"]))
    alone = accuracy(both["a"])
    assert found["mean"] == 0.05
    assert found["low"] > 0
    assert found["high"] - found["low"] < (alone["high"] - alone["low"]) / 2


def test_a_model_does_not_differ_from_itself() -> None:
    models = [model_right_on(np.arange(50) % 3 > 0)]
    both = estimates({"a": models, "b": models}, resamples=50, seed=0)
    for found in intervals(difference(both["a"], both["b"]), 0.95).values():
        assert found == {"mean": 0, "low": 0, "high": 0}


def test_seeds_that_disagree_widen_the_interval() -> None:
    good, bad = np.arange(400) % 10 > 0, np.arange(400) % 10 > 3
    agreeing = estimates({"a": [model_right_on(good)] * 4}, resamples=400, seed=0)["a"]
    differing = [model_right_on(good), model_right_on(bad)] * 2
    found = accuracy(estimates({"a": differing}, resamples=400, seed=0)["a"])
    assert found["high"] - found["low"] > 2 * (accuracy(agreeing)["high"] - accuracy(agreeing)["low"])


def test_seed_variance_is_not_understated() -> None:
    # All images alike within a seed, so that only the seeds vary: the resampled standard deviation
    # must be the textbook standard error of a mean of three.
    rates = np.array([0.0, 1.0, 1.0])
    models = [model_right_on(np.full(40, rate > 0)) for rate in rates]
    found = estimates({"a": models}, resamples=20000, seed=0)["a"].resamples[:, 0]
    assert found.std() == pytest.approx(rates.std(ddof=1) / np.sqrt(3), rel=0.03)


def test_pictures_of_one_object_are_drawn_together() -> None:
    objects = np.repeat(np.arange(20), 10)
    right = objects % 2 == 0
    alone = accuracy(estimates({"a": [model_right_on(right)]}, resamples=500, seed=0)["a"])
    grouped = accuracy(estimates({"a": [model_right_on(right)]}, resamples=500, seed=0, groups=objects)["a"])
    assert grouped["high"] - grouped["low"] > 2 * (alone["high"] - alone["low"])


@given(st.integers(0, 10**6), st.integers(2, 40), st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_intervals_stay_in_range_and_are_ordered(seed: int, images: int, seeds: int) -> None:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, images)
    models = [contributions(labels, generator.dirichlet([0.5] * 3, images), 7) for _ in range(seeds)]
    for name, found in intervals(
        estimates({"a": models}, resamples=60, seed=seed)["a"], confidence=0.9
    ).items():
        assert 0 <= found["low"] <= found["high"]
        if name != "log_loss":
            assert found["high"] <= 1


def test_the_calibration_error_lies_in_its_interval_when_the_model_is_calibrated() -> None:
    # Plain percentiles fail this: resampling adds noise, and noise only ever adds to absolute values.
    generator = np.random.default_rng(0)
    confidence = generator.uniform(0.5, 1, 1000)
    labels = (generator.random(1000) > confidence).astype(int)
    model = contributions(labels, np.stack([confidence, 1 - confidence], axis=1), 15)
    found = intervals(estimates({"a": [model]}, resamples=500, seed=0)["a"], 0.95)
    error = found["expected_calibration_error"]
    assert error["low"] < error["mean"] < error["high"]


def test_equal_seeds_repeat_exactly_and_other_contenders_do_not_matter() -> None:
    generator = np.random.default_rng(0)
    models = {
        name: [model_right_on(generator.random(80) < 0.7) for _ in range(3)] for name in ("a", "b", "c")
    }
    first = estimates(models, resamples=300, seed=4)
    again = estimates({"c": models["c"], "a": models["a"]}, resamples=300, seed=4)
    np.testing.assert_array_equal(first["a"].resamples, again["a"].resamples)
    np.testing.assert_array_equal(first["c"].resamples, again["c"].resamples)
    assert not np.array_equal(first["a"].resamples, estimates(models, resamples=300, seed=5)["a"].resamples)


def test_chunks_do_not_change_the_number_of_resamples() -> None:
    found = estimates({"a": [model_right_on(np.arange(9) % 2 > 0)]}, resamples=501, seed=0)["a"]
    assert found.resamples.shape == (501, len(METRICS))
