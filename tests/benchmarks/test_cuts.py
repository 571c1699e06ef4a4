"""The table of docs/heads.md has the columns that its script writes."""

import sys

import pytest
from tests_benchmarks import ROOT, loaded


def test_the_page_has_the_columns_that_the_script_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    page = (ROOT / "docs" / "heads.md").read_text(encoding="utf-8")
    assert f"| {' | '.join(loaded('cuts').NAMES)} |" in page
