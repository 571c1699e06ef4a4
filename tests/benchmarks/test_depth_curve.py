"""The table of whole studies: how far the recommended depth is from the best on pictures nothing has seen."""

import time
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from tests_benchmarks import loaded


@pytest.fixture(scope="module")
def depth_curve() -> ModuleType:
    return loaded("depth_curve")


def test_the_recommended_depth_is_compared_with_the_best_on_the_test_pictures(
    depth_curve: ModuleType,
) -> None:
    study = {
        "seed": 1,
        "seconds": 90.0,
        "recommendation": {"depth": 2, "indistinguishable_depths": [0, 2]},
        "below_best_unselected": 0.004,
        "curve": [{"depth": 0, "test_mean": 0.85}, {"depth": 2, "test_mean": 0.84}],
    }
    row = depth_curve.row(study)
    assert (row["depth"], row["best_depth"]) == (2, 0)
    assert row["below_best"] == pytest.approx(0.01)
    (line,) = depth_curve.page([study]).splitlines()[2:]
    assert line == "| 1 | 1.5 | 2 | 0, 2 | 0.840 | 0 | 0.850 | 1.0 | 0.4 |"


def test_the_best_of_equally_good_depths_is_no_better_than_the_others(depth_curve: ModuleType) -> None:
    """The largest of ten noisy means is above the others by luck, which the halves do not share."""
    random = np.random.default_rng(0)
    selected, unselected = [], []
    for _ in range(20):
        correct = (random.random((10, 400)) < 0.85).astype(float)
        means = correct.mean(axis=1)
        selected.append(means.max() - means[0])
        unselected.append(depth_curve.below_best(correct, 0, divisions=20))
    assert np.mean(selected) > 0.02
    assert abs(np.mean(unselected)) < 0.01


def test_a_depth_that_is_worse_is_below_the_best(depth_curve: ModuleType) -> None:
    random = np.random.default_rng(0)
    correct = (random.random((3, 5000)) < np.array([[0.8], [0.9], [0.7]])).astype(float)
    assert depth_curve.below_best(correct, 0, divisions=20) == pytest.approx(0.1, abs=0.02)
    assert depth_curve.below_best(correct, 1, divisions=20) == pytest.approx(0.0, abs=0.001)


def test_an_interrupted_study_is_timed_over_all_calls(
    depth_curve: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 10.0, 100.0, 105.0, 200.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    path = tmp_path / "seconds.json"
    with suppress(KeyboardInterrupt), depth_curve.timed(path) as finished:
        assert not finished
        raise KeyboardInterrupt
    with depth_curve.timed(path) as finished:
        assert not finished
    with depth_curve.timed(path) as finished:
        assert finished
    assert depth_curve.read_json(path)["seconds"] == 15.0
