"""Every metric has an interval that holds it, pairs what is shared, and never collapses."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thawline.evaluation.compare import Compared, difference_intervals, intervals
from thawline.evaluation.metrics import METRICS, contributions, measure


def model_right_on(correct: np.ndarray, confidence: float = 0.75) -> Compared:
    """A model of two classes that is right exactly on the pictures of `correct`; all are of class 0."""
    share = np.where(correct, confidence, 1 - confidence)
    return Compared.of([contributions(np.zeros(len(correct), int), np.stack([share, 1 - share], axis=1), 5)])


@given(st.integers(0, 10**6), st.integers(2, 40), st.integers(1, 4), st.sampled_from([0.02, 0.5, 5.0]))
@settings(max_examples=40, deadline=None)
def test_intervals_hold_their_metric_have_a_width_and_stay_in_range(
    seed: int, pictures: int, seeds: int, evenness: float
) -> None:
    generator = np.random.default_rng(seed)
    labels, clusters = generator.integers(0, 3, pictures), np.arange(pictures) // 2
    models = [
        contributions(labels, generator.dirichlet([evenness] * 3, pictures), 7) for _ in range(2 * seeds)
    ]
    first, second = Compared.of(models[:seeds]), Compared.of(models[seeds:])
    for name, found in intervals(first, clusters, 0.9).items():
        assert 0 <= found["low"] <= found["mean"] <= found["high"]
        assert found["low"] < found["high"]
        assert found["high"] <= 1 or name == "log_loss"
    for found in difference_intervals(first, second, clusters, 0.9).values():
        assert found["low"] <= found["mean"] <= found["high"]
        assert found["low"] < found["high"]


def test_means_are_those_of_the_metrics_over_seeds() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 50)
    models = [contributions(labels, generator.dirichlet([0.5] * 3, 50), 7) for _ in range(3)]
    found = intervals(Compared.of(models), np.arange(50), 0.95)
    expected = np.mean([measure(model) for model in models], axis=0)
    assert [found[name]["mean"] for name in METRICS] == pytest.approx(expected.tolist(), abs=1e-6)


def test_a_perfect_model_is_no_certainty() -> None:
    found = intervals(model_right_on(np.ones(30, bool)), np.arange(30), 0.95)
    for name in ("accuracy", "balanced_accuracy", "macro_f1"):
        assert (found[name]["mean"], found[name]["high"]) == (1, 1)
        assert found[name]["low"] == pytest.approx(0.884, abs=0.001)


def test_the_same_model_differs_from_itself_on_no_picture_there_is() -> None:
    model, other = (model_right_on(np.arange(40) % 5 > 0, confidence) for confidence in (0.75, 0.76))
    found = difference_intervals(model, model, np.arange(40), 0.95)
    assert all(each == {"mean": 0, "low": 0, "high": 0} for each in found.values())
    # right on the same pictures, and yet another model
    alike = difference_intervals(model, other, np.arange(40), 0.95)["accuracy"]
    assert alike["low"] < alike["mean"] == 0 < alike["high"]


def test_pictures_shared_by_contenders_cancel_in_their_difference() -> None:
    right = np.random.default_rng(0).random(200) < 0.5
    better = right.copy()
    better[np.flatnonzero(~right)[:14]] = True
    first, second = model_right_on(better), model_right_on(right)
    found = difference_intervals(first, second, np.arange(200), 0.95)["accuracy"]
    alone = intervals(first, np.arange(200), 0.95)["accuracy"]
    assert found["mean"] == 0.07
    assert found["low"] > 0
    assert found["high"] - found["low"] < (alone["high"] - alone["low"]) / 1.5


def test_pictures_of_one_object_widen_every_share() -> None:
    model, everyone = model_right_on(np.arange(200) % 20 < 10), np.arange(200)
    alone, grouped = (intervals(model, clusters, 0.95) for clusters in (everyone, everyone // 10))
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "log_loss"):
        widths = [found[name]["high"] - found[name]["low"] for found in (grouped, alone)]
        assert widths[0] > 2 * widths[1]


def test_the_calibration_error_of_a_calibrated_model_may_be_none() -> None:
    generator = np.random.default_rng(0)
    confidence = generator.uniform(0.5, 1, 1000)
    labels = (generator.random(1000) > confidence).astype(int)
    model = contributions(labels, np.stack([confidence, 1 - confidence], axis=1), 15)
    error = intervals(Compared.of([model]), np.arange(1000), 0.95)["expected_calibration_error"]
    assert error["low"] == 0 < error["mean"] < error["high"]
