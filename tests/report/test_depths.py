"""How much to freeze: the recommendation, every depth with intervals, and where the recipe comes from."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from thawline.artifacts import write_json
from thawline.depth_curve import COLUMNS
from thawline.report.findings import read_findings

SELECTED = {
    "corrected": {"mean": 0.841, "low": 0.752, "high": 0.92},
    "images": 80,
    "validation": {
        "kind": "kfold",
        "folds": 5,
        "reason": "Validated by 5-fold cross-validation, because so.",
    },
}


def freezing(text: str) -> str:
    return text[text.index("## How much to freeze") : text.index("## Training")]


def test_a_depth_curve_is_recommended_from(written: Callable[..., str]) -> None:
    section = freezing(written(curve=True))
    assert section.splitlines()[2].startswith("Depths 0 to 5 are indistinguishable on your 200 validation")
    assert re.search(r"the best of \d trials with 3 frozen units by accuracy on 200 validation", section)
    recommended = (
        "| **4** | layer2.0 | 5 | 94.8 % (92.8 to 96.8) | 92.8 % (90.8 to 94.8) | −0.2 (−2.2 to +1.8) |"
    )
    assert f"{recommended} 6.2 | 2.20 M |" in section
    assert (
        "| 0 | – | 5 | 95.0 % (93.0 to 97.0) | 93.0 % (91.0 to 95.0) | the best | 9.0 | 11.0 M |" in section
    )
    assert section.count('src="figures/accuracy_by_depth-light.svg"') == 1


def test_what_could_not_be_told_is_a_section_of_its_own(written: Callable[..., str]) -> None:
    section = written(curve=True).partition("## What could not be told")[2].partition("## ")[0]
    assert "* It could not be told which of the depths 0, 1, 2, 3, 4, 5 is best." in section
    assert "## What could not be told" not in written()


def test_a_curve_that_was_not_tested_has_no_column_for_it(written: Callable[..., str]) -> None:
    section = freezing(written(curve=True, tested=False))
    assert "test accuracy" not in section
    assert "| **4** | layer2.0 | 5 | 94.8 % (92.8 to 96.8) | −0.2 (−2.2 to +1.8) | 6.2 | 2.20 M |" in section


def test_the_table_of_depths_has_as_many_cells_in_every_row(written: Callable[..., str]) -> None:
    for tested in (True, False):
        table = re.findall(r"(?:^\|.*\n)+", freezing(written(curve=True, tested=tested)), re.MULTILINE)
        assert len(table) == 1
        assert len({row.count("|") for row in table[0].splitlines()}) == 1


def test_the_winner_is_told_with_its_corrected_accuracy(written: Callable[..., str]) -> None:
    section = freezing(written(selected=SELECTED))
    assert (
        "the best of 30 trials by accuracy in 5-fold cross-validation over 80 pictures (96.5 %; corrected "
        "for having been selected: **84.1 %**, 95 % interval 75.2 to 92.0 %). "
        "Validated by 5-fold cross-validation, because so."
    ) in section


@pytest.mark.parametrize("selected", [{}, {"corrected": None, "images": 200}])
def test_a_winner_that_was_not_corrected_is_called_optimistic(
    written: Callable[..., str], selected: dict[str, Any]
) -> None:
    text = written(selected=selected)
    assert "on 200 validation pictures (96.5 %; being the best of many, that number is optimistic)." in text


def test_why_there_is_no_curve_is_said_after_where_the_recipe_comes_from(
    finished: Callable[..., Any], rendered: Callable[..., tuple[str, str]]
) -> None:
    config, artifacts = finished()
    (artifacts.reports / "depth_curve.csv").write_text(",".join(COLUMNS) + "\n")
    write_json(artifacts.reports / "recommendation.json", {"depth": 3, "reason": "No depth curve was made."})
    assert read_findings(artifacts, config).curve is None
    section = freezing(rendered(config, artifacts)[0])
    assert section.index("The recipe is that of trial 7") < section.index("No depth curve was made.")
    assert "| frozen units |" not in section
