"""The scores are what their papers say: the same numbers come from formulas written out."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal
from sklearn.covariance import ledoit_wolf_shrinkage

from thawline.statistics.transferability import h_score, leep, log_me

RANDOM = np.random.default_rng(0)


def task(count: int, columns: int, classes: int, signal: float) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(count) % classes
    features = RANDOM.normal(size=(count, columns))
    features[:, 0] += signal * labels
    return features, labels


def by_search(features: np.ndarray, wanted: np.ndarray) -> float:
    """The largest log density of the indicator under all precisions, by a search over both."""
    count = len(wanted)

    def lost(logs: np.ndarray) -> float:
        weights, noise = np.exp(logs)
        covariance = features @ features.T / weights + np.eye(count) / noise
        return -float(multivariate_normal(np.zeros(count), covariance).logpdf(wanted))

    starts = [(0.0, 0.0), (4.0, 2.0)]
    return -min(minimize(lost, start, method="Nelder-Mead").fun for start in starts)


@pytest.mark.parametrize("columns", [3, 40])
def test_log_me_is_the_largest_evidence(columns: int) -> None:
    features, labels = task(24, columns, 3, 1.5)
    found = [by_search(features, (labels == name).astype(float)) / 24 for name in range(3)]
    assert log_me(features, labels, 3) == pytest.approx(np.mean(found), abs=2e-4)


def test_h_score_is_the_variance_between_classes_in_units_of_the_shrunk_covariance() -> None:
    features, labels = task(40, 5, 4, 1.0)
    centred = features - features.mean(0)
    share = ledoit_wolf_shrinkage(features)
    covariance = sum(np.outer(row, row) for row in centred) / 40
    shrunk = (1 - share) * covariance + share * np.trace(covariance) / 5 * np.eye(5)
    between = np.zeros((5, 5))
    for label in labels:
        mean = centred[labels == label].mean(0)
        between += np.outer(mean, mean) / 40
    assert h_score(features, labels) == pytest.approx((1 - share) * np.trace(np.linalg.inv(shrunk) @ between))


def test_leep_is_the_likelihood_of_labels_given_what_the_source_says() -> None:
    labels = np.array([0, 0, 1, 1, 2])
    said = RANDOM.dirichlet(np.ones(4), 5)
    total = 0.0
    for row, label in enumerate(labels):
        likelihood = 0.0
        for name in range(4):
            together = sum(said[i, name] for i in range(5) if labels[i] == label) / 5
            alone = sum(said[i, name] for i in range(5)) / 5
            likelihood += together / alone * said[row, name]
        total += np.log(likelihood)
    assert leep(said, labels) == pytest.approx(total / 5)


def test_each_score_is_larger_where_classes_are_apart() -> None:
    (near, labels), (far, _) = task(60, 8, 3, 0.0), task(60, 8, 3, 4.0)
    assert log_me(far, labels, 3) > log_me(near, labels, 3)
    assert h_score(far, labels) > h_score(near, labels)
    sure = np.eye(3)[labels] * 0.9 + 0.1 / 3
    assert leep(sure, labels) > leep(np.full((60, 3), 1 / 3), labels)
