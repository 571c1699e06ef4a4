"""What the bundle's answers are worth, as metrics.json says it."""

import numpy as np
import pytest

from thawline.config.sections import Config
from thawline.evaluation.answers import calibration, expected_costs

CLUSTERS = np.arange(1000)


def test_calibration_is_that_before_and_after_the_temperature() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(1000, 2)) * 2
    truth = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = (random.random(1000) > truth[:, 0]).astype(int)
    # the network was three times too sure, and the temperature put that right
    found = calibration(truth, labels, 3.0, CLUSTERS, Config())
    for metric in ("log_loss", "expected_calibration_error"):
        before, after, difference = (found[name][metric] for name in ("before", "after", "difference"))
        assert after["mean"] < before["mean"]
        assert difference["mean"] == pytest.approx(after["mean"] - before["mean"], abs=2e-6)
        assert difference["low"] < difference["mean"] < difference["high"] < 0
    sharp = np.exp(3 * logits) / np.exp(3 * logits).sum(1, keepdims=True)
    wanted = -np.log(sharp[np.arange(1000), labels]).mean()
    assert found["before"]["log_loss"]["mean"] == pytest.approx(wanted, abs=1e-5)


def test_costs_are_those_of_the_decisions_beside_those_of_the_likeliest_class() -> None:
    costs = np.array([[0.0, 1.0], [10.0, 0.0]])
    labels = np.repeat([0, 1], 100)
    likeliest = np.where(np.arange(200) % 10 == 0, 1 - labels, labels)
    decisions = np.where(np.arange(200) % 5 == 0, 1, labels)
    found = expected_costs(costs, labels, decisions, likeliest, CLUSTERS[:200], Config())
    assert found["decisions"]["mean"] == pytest.approx(20 / 200)
    assert found["likeliest"]["mean"] == pytest.approx((10 + 100) / 200)
    assert found["difference"]["mean"] == pytest.approx(-90 / 200)
    assert found["accuracy"]["mean"] == pytest.approx(180 / 200)
    assert all(each["low"] < each["mean"] < each["high"] for each in found.values())
