"""Metrics equal their textbook definitions, and say what each picture adds to them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as textbook

from thawline.evaluation.metrics import (
    METRICS,
    calibration,
    calibration_noise,
    confidence_bin,
    contributions,
    imbalance,
    linearised,
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
@settings(max_examples=25, deadline=None)
def test_every_metric_is_the_textbook_one(seed: int, images: int, classes: int, bins: int) -> None:
    labels, probabilities = some_predictions(seed, images, classes)
    found = named(measure(contributions(labels, probabilities, bins)))
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


@given(st.integers(0, 99), st.integers(4, 40))
@settings(max_examples=20, deadline=None)
def test_a_metric_is_the_mean_of_what_each_picture_adds(seed: int, pictures: int) -> None:
    """One picture more changes it by about the share of pictures that one is."""
    generator = np.random.default_rng(seed)
    labels, probabilities = generator.integers(0, 3, pictures), generator.dirichlet([0.5] * 3, pictures)
    model, times = contributions(labels, probabilities, 5), 400
    added = linearised(model)
    np.testing.assert_allclose(added.mean(1), measure(model), atol=1e-12)
    twice = contributions(
        np.append(np.tile(labels, times), labels[0]),
        np.concatenate([np.tile(probabilities, (times, 1)), probabilities[:1]]),
        5,
    )
    grown = (measure(twice) - measure(model)) * (times * pictures + 1)
    np.testing.assert_allclose(grown, (added[:, 0] - measure(model)), atol=0.03)


def test_balanced_accuracy_varies_more_where_classes_are_uneven() -> None:
    def of(*support: int) -> float:
        labels = np.repeat(np.arange(len(support)), support)
        return imbalance(contributions(labels, np.eye(3)[labels], 5))

    assert of(5, 5, 5) == pytest.approx(1)
    assert of(5, 5, 0) == pytest.approx(1)
    assert of(8, 1, 1) == pytest.approx(10 / 9 * (1 / 8 + 2))


def test_chance_alone_gives_a_calibrated_model_its_calibration_error() -> None:
    generator, found = np.random.default_rng(0), []
    for _ in range(100):
        confidence = generator.uniform(0.5, 1, 300)
        labels = (generator.random(300) > confidence).astype(int)
        model = contributions(labels, np.stack([confidence, 1 - confidence], axis=1), 10)
        found.append((measure(model)[4], calibration_noise(model)))
    measured, noise = np.mean(found, axis=0)
    assert noise == pytest.approx(measured, rel=0.05)


def test_a_single_class_is_measured() -> None:
    found = named(measure(contributions(np.zeros(4, int), np.ones((4, 1)), 15)))
    assert found == {
        "accuracy": 1,
        "balanced_accuracy": 1,
        "macro_f1": 1,
        "log_loss": 0,
        "expected_calibration_error": 0,
    }


def test_a_probability_of_zero_for_the_truth_gives_a_finite_log_loss() -> None:
    found = named(measure(contributions(np.array([1]), np.array([[1.0, 0.0]]), 15)))
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


def test_the_scores_of_each_class_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.ones(7), 60)
    labels = random.integers(0, 5, 60)  # two classes have no picture
    probabilities[:, 4] = 0  # and nothing is taken for another one
    expected = textbook.precision_recall_fscore_support(
        labels, probabilities.argmax(1), labels=range(7), zero_division=np.nan
    )
    found = per_class(labels, probabilities)
    for name, column in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        assert found[name].to_numpy() == pytest.approx(column, nan_ok=True)


def test_undefined_scores_of_a_class_are_nan_and_not_zero() -> None:
    labels = np.array([0, 0, 1])
    probabilities = np.array([[0.8, 0.1, 0.1], [0.8, 0.1, 0.1], [0.6, 0.3, 0.1]])
    table = per_class(labels, probabilities)
    assert table["support"].tolist() == [2, 1, 0]
    assert table["recall"].tolist()[:2] == [1, 0]
    assert np.isnan(table["recall"][2])
    assert table["precision"][0] == pytest.approx(2 / 3)
    assert np.isnan(table["precision"][1])
