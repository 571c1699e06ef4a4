"""Metrics equal their textbook definitions, also on weighted resamples with missing classes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as textbook

from thawline.evaluation.metrics import (
    METRICS,
    calibration,
    confidence_bin,
    contributions,
    measure,
    per_class,
)


def some_predictions(seed: int, images: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    scores = np.exp(2 * generator.normal(size=(images, classes)))
    return generator.integers(0, classes, images), scores / scores.sum(1, keepdims=True)


def named(row: np.ndarray) -> dict[str, float]:
    return dict(zip(METRICS, row, strict=True))


def naive_calibration_error(labels: np.ndarray, probabilities: np.ndarray, bins: int) -> float:
    confidence, correct = probabilities.max(1), probabilities.argmax(1) == labels
    error = 0.0
    for index in range(bins):
        inside = (confidence > index / bins) & (confidence <= (index + 1) / bins)
        if inside.any():
            error += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    return error


@given(st.integers(0, 10**6), st.integers(1, 60), st.integers(2, 6), st.integers(1, 20))
@settings(max_examples=60, deadline=None)
def test_every_metric_is_the_textbook_one(seed: int, images: int, classes: int, bins: int) -> None:
    labels, probabilities = some_predictions(seed, images, classes)
    found = named(measure(contributions(labels, probabilities, bins))[0])
    predicted, present = probabilities.argmax(1), np.unique(labels)
    recall = textbook.recall_score(labels, predicted, labels=present, average="macro", zero_division=0)
    f1 = textbook.f1_score(labels, predicted, labels=present, average="macro", zero_division=0)
    assert found["accuracy"] == pytest.approx(textbook.accuracy_score(labels, predicted))
    assert found["balanced_accuracy"] == pytest.approx(recall)
    assert found["macro_f1"] == pytest.approx(f1)
    assert found["log_loss"] == pytest.approx(
        textbook.log_loss(labels, probabilities, labels=np.arange(classes))
    )
    assert found["expected_calibration_error"] == pytest.approx(
        naive_calibration_error(labels, probabilities, bins)
    )


@given(st.integers(0, 10**6), st.lists(st.integers(0, 3), min_size=12, max_size=12).filter(any))
@settings(max_examples=60, deadline=None)
def test_weighting_an_image_twice_is_having_it_twice(seed: int, times: list[int]) -> None:
    labels, probabilities = some_predictions(seed, 12, 4)
    weighted = measure(contributions(labels, probabilities, 5), np.array(times, float)[:, None])
    repeated = contributions(np.repeat(labels, times), np.repeat(probabilities, times, axis=0), 5)
    np.testing.assert_allclose(weighted, measure(repeated), atol=1e-12)


def test_all_weightings_are_measured_at_once() -> None:
    labels, probabilities = some_predictions(0, 30, 3)
    model = contributions(labels, probabilities, 5)
    weights = np.random.default_rng(1).integers(0, 3, (30, 7)).astype(float)
    one_by_one = np.concatenate([measure(model, weights[:, [column]]) for column in range(7)])
    np.testing.assert_allclose(measure(model, weights), one_by_one)


def test_a_class_missing_from_a_resample_does_not_count_as_wrong() -> None:
    labels = np.array([0, 0, 1])
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]])
    without_class_1 = measure(contributions(labels, probabilities, 10), np.array([[1.0], [1.0], [0.0]]))
    assert named(without_class_1[0])["balanced_accuracy"] == 1
    assert named(without_class_1[0])["macro_f1"] == 1


def test_a_single_class_is_measured() -> None:
    found = named(measure(contributions(np.zeros(4, int), np.ones((4, 1)), 15))[0])
    assert found == {
        "accuracy": 1,
        "balanced_accuracy": 1,
        "macro_f1": 1,
        "log_loss": 0,
        "expected_calibration_error": 0,
    }


def test_a_probability_of_zero_for_the_truth_gives_a_finite_log_loss() -> None:
    found = named(measure(contributions(np.array([1]), np.array([[1.0, 0.0]]), 15))[0])
    assert found["log_loss"] == pytest.approx(-np.log(np.finfo(float).eps))


def test_bins_are_closed_above() -> None:
    assert confidence_bin(np.array([0.0, 0.25, 0.2500001, 1.0]), 4).tolist() == [0, 0, 1, 3]


def test_calibration_lists_occupied_bins_only() -> None:
    labels = np.array([0, 1, 0])
    probabilities = np.array([[0.9, 0.1], [0.95, 0.05], [0.6, 0.4]])
    table = calibration(labels, probabilities, 5)
    assert table["count"].tolist() == [1, 2]
    assert table["low"].tolist() == pytest.approx([0.4, 0.8])
    assert table["accuracy"].tolist() == [1, 0.5]
    assert table["confidence"].tolist() == pytest.approx([0.6, 0.925])


def test_undefined_scores_of_a_class_are_nan_and_not_zero() -> None:
    labels = np.array([0, 0, 1])
    probabilities = np.array([[0.8, 0.1, 0.1], [0.8, 0.1, 0.1], [0.6, 0.3, 0.1]])
    table = per_class(labels, probabilities)
    assert table["support"].tolist() == [2, 1, 0]
    assert table["recall"].tolist()[:2] == [1, 0]
    assert np.isnan(table["recall"][2])
    assert table["precision"][0] == pytest.approx(2 / 3)
    assert np.isnan(table["precision"][1])
