"""The table of whole studies: how far the recommended depth is from the best on pictures nothing has seen."""

from types import ModuleType

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
        "curve": [{"depth": 0, "test_mean": 0.85}, {"depth": 2, "test_mean": 0.84}],
    }
    row = depth_curve.row(study)
    assert (row["depth"], row["best_depth"]) == (2, 0)
    assert row["below_best"] == pytest.approx(0.01)
    assert depth_curve.table([row]).splitlines()[2] == "| 1 | 1.5 | 2 | 0, 2 | 0.840 | 0 | 0.850 | 1.0 |"
