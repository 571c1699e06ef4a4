"""docs/answers.md has the columns that its script writes, and areas are what they are called."""

import sys
from types import ModuleType

import numpy as np
import pytest
from tests_benchmarks import ROOT, loaded


@pytest.fixture
def unknown(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    return loaded("unknown")


def test_the_page_has_the_columns_that_the_script_writes(unknown: ModuleType) -> None:
    page = (ROOT / "docs" / "answers.md").read_text(encoding="utf-8")
    for names in (unknown.CALIBRATED, unknown.ALARMS, unknown.STRANGE):
        assert f"| {' | '.join(names)} |" in page


def test_the_area_is_the_share_of_pairs_in_the_right_order(unknown: ModuleType) -> None:
    known, strange = np.array([0.1, 0.2, 0.3]), np.array([0.3, 0.25, 0.9, 0.0])
    pairs = [(a > b) + 0.5 * (a == b) for a in strange for b in known]
    assert unknown.roc_auc(known, strange) == pytest.approx(np.mean(pairs))
