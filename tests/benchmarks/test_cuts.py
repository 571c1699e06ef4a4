"""The table of docs/heads.md is the one that was measured, and the rule of choice harmed where it says so."""

import sys
from typing import Any

import pytest
from tests_benchmarks import ROOT, loaded

from thawline.artifacts import read_json


@pytest.fixture
def measured() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = read_json(ROOT / "benchmarks" / "results" / "cuts.json")
    return found


def test_the_page_shows_what_was_measured(
    measured: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    assert loaded("cuts").table(measured) in (ROOT / "docs" / "heads.md").read_text(encoding="utf-8")


def test_the_last_cut_alone_is_neither_gain_nor_harm(measured: list[dict[str, Any]]) -> None:
    for row in measured:
        for gain, cuts in zip(row["gains"], row["read"], strict=True):
            assert len(cuts) > 1 or gain == 0
