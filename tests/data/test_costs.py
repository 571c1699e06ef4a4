"""`evaluate.costs`: a table that people write by hand."""

import unicodedata
from pathlib import Path

import pytest

from thawline.config.errors import UserError
from thawline.data.costs import configured_costs, read_costs

CLASSES = ("cat", "dog")


def table(folder: Path, *lines: str) -> Path:
    path = folder / "costs.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_rows_are_true_classes_in_whatever_order(tmp_path: Path) -> None:
    path = table(tmp_path, ",dog, cat", "dog, 0, 5", "", "cat,1.5,0")
    assert read_costs(path, CLASSES) == ((0, 1.5), (5, 0))


@pytest.mark.parametrize("separator", [";", "\t"])
def test_other_programs_separate_fields_and_write_accents_otherwise(tmp_path: Path, separator: str) -> None:
    lines = (",élm,oak", unicodedata.normalize("NFD", "élm,0,5"), "oak,1.5,0")
    path = table(tmp_path, *(line.replace(",", separator) for line in lines))
    assert read_costs(path, ("oak", "élm")) == ((0, 1.5), (5, 0))


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["x,cat,dog", "cat,0,1"], "its first column lacks dog"),
        (["x,cat", "cat,0", "dog,1"], "its first row lacks dog"),
        (["x,cat,dog", "cat,0,1", "dog,1"], "row dog has 1 costs for 2 classes"),
        (
            ["x,cat,dog", "cat,0,1", "dog,1,0", "cow,1,0"],
            "its first column names no class of these pictures: cow",
        ),
        (["x,cat,dog", "cat,0,1", "dog,1,0", "dog,1,0"], "its first column names dog more than once"),
        (["x,cat,dog", "cat,0,much", "dog,1,0"], "row cat, column dog holds 'much', which is not a number"),
        (["x,cat,dog", "cat,0,nan", "dog,1,0"], "row cat, column dog holds 'nan', which is not a number"),
        (["x,cat,dog", "cat,0,1_0", "dog,1,0"], "row cat, column dog holds '1_0', which is not a number"),
        (["x,cat,dog", "cat,0,1", "dog,-2,0"], "row dog, column cat holds -2, and a cost is 0 or more"),
        (["x,cat,dog"], "it has no rows of costs"),
    ],
)
def test_what_is_wrong_is_said_and_an_example_given(tmp_path: Path, lines: list[str], words: str) -> None:
    with pytest.raises(UserError) as error:
        read_costs(table(tmp_path, *lines), CLASSES)
    assert words in str(error.value)
    assert "true class,cat,dog" in str(error.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read: No such file"):
        read_costs(tmp_path / "costs.csv", CLASSES)


def test_what_is_configured_is_read_and_without_it_nothing_costs(tmp_path: Path) -> None:
    path = table(tmp_path, "true class,oak,elm", "oak,0,1", "elm,2,0")
    assert configured_costs(str(path), ("oak", "elm")) == ((0, 1), (2, 0))
    assert configured_costs(None, ("oak", "elm")) is None
