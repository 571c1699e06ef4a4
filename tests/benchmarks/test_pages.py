"""Pages show what was measured, between marks that scripts find again."""

from pathlib import Path
from types import ModuleType

import pytest
from tests_benchmarks import ROOT, loaded

from thawline.artifacts import read_json
from thawline.config.errors import UserError


@pytest.fixture(scope="module")
def pages() -> ModuleType:
    return loaded("pages")


@pytest.mark.parametrize(
    ("page", "shown", "results"),
    [
        ("architectures.md", "builders.page", "builders"),
        ("batch_norm.md", "batch_norm.page", "batch_norm"),
        ("benchmarks.md", "side_by_side.table", "photographs"),
        ("choosing_sources.md", "sources.tables", "sources"),
        ("exports.md", "exports.page", "exports"),
        ("labels.md", "labels.tables", "labels"),
        ("methods.md", "methods.page", "methods_digits"),
        ("methods.md", "methods.page", "methods_hotdog"),
        ("methods.md", "methods.page", "methods_transformer"),
        ("rewards.md", "rewards.tables", "rewards"),
        ("search.md", "coverage.tables", "coverage"),
        ("search.md", "depth_curve.page", "depth_curve_digits"),
        ("weak_supervision.md", "noise.tables", "noise"),
        ("weak_supervision.md", "unlabelled.tables", "unlabelled"),
        ("weak_supervision.md", "votes.tables", "votes"),
    ],
)
def test_a_page_shows_what_was_measured(page: str, shown: str, results: str) -> None:
    document, (script, name) = (ROOT / "docs" / page).read_text(encoding="utf-8"), shown.split(".")
    rows = read_json(ROOT / "benchmarks" / "results" / f"{results}.json")
    found = getattr(loaded(script), name)(rows)
    for text in found.values() if isinstance(found, dict) else [found]:
        assert f"\n{text}\n" in document


@pytest.mark.parametrize(
    ("page", "script", "names"),
    [
        ("answers.md", "unknown", ("CALIBRATED", "ALARMS", "STRANGE")),
        ("benchmarks.md", "answers", ("NAMES",)),
        ("heads.md", "cuts", ("NAMES",)),
    ],
)
def test_a_page_has_the_columns_that_the_script_writes(page: str, script: str, names: tuple[str]) -> None:
    document = (ROOT / "docs" / page).read_text(encoding="utf-8")
    for name in names:
        assert f"| {' | '.join(getattr(loaded(script), name))} |" in document


def test_a_table_goes_to_its_own_place(pages: ModuleType, tmp_path: Path) -> None:
    page = "a\n<!-- digits: begin -->\nold\n<!-- digits: end -->\nb\n"
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "page.md").write_text(page)
    pages.fill("page.md", {"digits": "new"}, tmp_path)
    assert (tmp_path / "docs" / "page.md").read_text() == page.replace("old", "new")
    with pytest.raises(UserError, match=r"docs/page.md has no place for leaves(?s:.*)<!-- leaves: begin -->"):
        pages.fill("page.md", {"leaves": "new"}, tmp_path)


def test_what_a_row_lacks_is_left_empty(pages: ModuleType) -> None:
    assert pages.table(["a", "b", "c"], [["1", "", "2"], ["none"]], "|---").splitlines() == [
        "| a | b | c |",
        "|---|---|---|",
        "| 1 |  | 2 |",
        "| none | | |",
    ]


def test_an_interval_has_a_form_and_a_scale(pages: ModuleType) -> None:
    assert pages.interval(0.5, 0.25, 0.75) == "0.500 (0.250 to 0.750)"
    assert pages.interval(-0.01, -0.02, 0.003, "+.1f", 100) == "-1.0 (-2.0 to +0.3)"


def test_what_was_measured_is_kept_and_not_measured_again(tmp_path: Path) -> None:
    kept, asked = loaded("kept"), []

    def measure(value: int) -> int:
        asked.append(value)
        return value

    for _ in range(2):
        assert kept.kept(tmp_path / "one.json", measure, 1) == 1
        cells = kept.Cells(tmp_path / "cells.json")
        assert [cells.measured(name, measure, value) for name, value in (("a", 2), ("b", 3))] == [2, 3]
        assert kept.arrays(tmp_path / "c.npz", lambda: {"c": [measure(4)]})["c"].tolist() == [4]
    assert asked == [1, 2, 3, 4]


def test_rows_take_the_place_of_those_that_say_the_same(tmp_path: Path) -> None:
    kept, path = loaded("kept"), tmp_path / "rows.json"
    for rows in ([("a", 1), ("b", 2)], [("b", 3)], [("c", 4)]):
        kept.put(path, [{"name": name, "value": value} for name, value in rows], "name")
    assert [(row["name"], row["value"]) for row in kept.rows_in(path)] == [("a", 1), ("b", 3), ("c", 4)]
