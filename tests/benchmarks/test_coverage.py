"""The coverage tables of docs/search.md say what is promised."""

from types import ModuleType
from typing import Any

import pytest
from tests_benchmarks import ROOT, loaded

from thawline.artifacts import read_json


@pytest.fixture(scope="module")
def coverage() -> ModuleType:
    return loaded("coverage")


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    return read_json(ROOT / "benchmarks" / "results" / "coverage.json")


def test_what_is_promised_was_seen(measured: dict[str, Any]) -> None:
    promised = [row for row in measured["accuracy"] if row["promised"]]
    assert min(row["ours"] for row in promised) >= 0.93
    one_seed = [row for row in promised if row["seeds"] == row["group_size"] == 1]
    assert max(row["ours_width"] / row["wilson_width"] for row in one_seed) <= 1.3


def test_a_row_is_simulated(coverage: ModuleType) -> None:
    setting = coverage.Accuracy(True, 40, 0.9, seeds=3, deviation=0.02, alike=0.5)
    row = coverage.accuracy_row(setting, 20)
    assert row == coverage.accuracy_row(setting, 20)
    assert row["ours"] >= 0.8
    assert len(coverage.accuracy_table([row]).splitlines()) == 3
