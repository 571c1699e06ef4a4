"""How the bundle's answers do on the test pictures: calibration before and after, unknown pictures, costs.

Everything in the bundle was decided without these pictures; here it is only measured.
"""

from typing import Any

import numpy as np

from thawline.artifacts import Artifacts
from thawline.config.sections import Config
from thawline.data.store import groups_of
from thawline.evaluation.asking import Asking
from thawline.evaluation.compare import Compared, difference_intervals, intervals
from thawline.evaluation.metrics import contributions
from thawline.statistics.intervals import accuracy_interval, loss_interval, named
from thawline.statistics.paired import difference_interval

CALIBRATION = ("log_loss", "expected_calibration_error")


def answers_on_test(config: Config, artifacts: Artifacts, asking: Asking) -> dict[str, Any]:
    """Return what metrics.json says of the bundle in artifacts/export: `temperature`; `calibration` before
    and after it, and the `difference` after - before; `unknown`, the share of test pictures that it calls so
    beside the one promised; `costs`, where there are any.

    Raises `UserError` where the bundle is missing or was made for other classes or other input.
    """
    said, order, answering = asking.bundle(artifacts.stage("export"))
    test, clusters = asking.test, groups_of(asking.test.manifest)
    found, decisions = said.probabilities[:, order], np.argsort(order)[said.decisions]
    result: dict[str, Any] = {
        "temperature": answering.temperature,
        "basis": answering.basis,
        "calibration": calibration(found, test.labels, answering.temperature, clusters, config),
    }
    if answering.unknown is not None:
        called = (said.scores > answering.unknown.threshold)[None].astype(np.float64)
        on_test = named(float(called.mean()), accuracy_interval(called, config.evaluate.confidence, clusters))
        promised = {"promised": answering.unknown.share, "basis": answering.unknown.basis}
        result["unknown"] = {**promised, "on_test": on_test}
    if answering.costs is not None:
        costs = np.array(answering.costs)[np.ix_(order, order)]
        likeliest = found.argmax(1)
        result["costs"] = expected_costs(costs, test.labels, decisions, likeliest, clusters, config)
    return result


def calibration(
    found: np.ndarray, labels: np.ndarray, temperature: float, clusters: np.ndarray, config: Config
) -> dict[str, Any]:
    """Return log-loss and calibration error, with intervals, of the probabilities (N, C) `found`, `after` the
    temperature, and of those `before` it, and the paired `difference`."""
    before = found**temperature
    before /= before.sum(1, keepdims=True)
    confidence, bins = config.evaluate.confidence, config.evaluate.calibration_bins
    first, second = (Compared.of([contributions(labels, each, bins)]) for each in (before, found))
    results = {
        "before": intervals(first, clusters, confidence),
        "after": intervals(second, clusters, confidence),
        "difference": difference_intervals(second, first, clusters, confidence),
    }
    return {name: {metric: each[metric] for metric in CALIBRATION} for name, each in results.items()}


def expected_costs(
    costs: np.ndarray,
    labels: np.ndarray,
    decisions: np.ndarray,
    likeliest: np.ndarray,
    clusters: np.ndarray,
    config: Config,
) -> dict[str, Any]:
    """Return what a picture costs in the mean, with intervals: of `decisions` (N,), of calling each by its
    `likeliest` class (N,), and the paired `difference`; and the `accuracy` of the decisions.

    costs: (C, C), a row for each true class.
    """
    ours, theirs = costs[labels, decisions][None], costs[labels, likeliest][None]
    confidence = config.evaluate.confidence
    # what always deciding the same costs at least, as if all classes were equally frequent
    guess = max(float(costs.mean(0).min()), 1e-12)
    difference = difference_interval(ours, theirs, clusters, confidence, scale=costs.max(), limit=costs.max())
    right = (decisions == labels)[None].astype(np.float64)
    return {
        "accuracy": named(float(right.mean()), accuracy_interval(right, confidence, clusters)),
        "decisions": named(ours.mean(), loss_interval(ours, clusters, guess, confidence)),
        "likeliest": named(theirs.mean(), loss_interval(theirs, clusters, guess, confidence)),
        "difference": named(ours.mean() - theirs.mean(), difference),
    }
