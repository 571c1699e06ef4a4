"""reports/labels.csv: what a person corrects and gives to the next run."""

import unicodedata
from pathlib import Path
from typing import Literal

import pandas as pd
import pytest
from PIL import Image

from thawline.config.sections import DataSet, DataSetName, Role
from thawline.data.sources import collect
from thawline.report.labels import labels_table

RANKED = pd.DataFrame(
    {
        "path": ["cats/2.png", "dogs/1.png", "cats/1.png"],
        "label": ["cats", "dogs", "cats"],
        "group": ["", "rex", ""],
        "split": ["val", "train", "train"],
    }
)
PREDICTIONS = pd.DataFrame(
    {
        "path": ["dogs/9.png", "cats/8.png"] * 2,
        "label": ["dogs", "cats"] * 2,
        "group": ["pack", ""] * 2,
        "seed": 0,
    }
)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with the files of all pictures."""
    for path in (*RANKED["path"], *PREDICTIONS["path"]):
        file = tmp_path / "pets" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(file)
    return tmp_path / "pets"


def test_a_corrected_copy_is_the_next_run_s_input_wherever_it_lies(pictures: Path, tmp_path: Path) -> None:
    table = labels_table(RANKED, PREDICTIONS, str(pictures))
    table.loc[table.index[0], "label"] = "dogs"
    copy = tmp_path / "elsewhere" / "corrected.csv"
    copy.parent.mkdir()
    table.to_csv(copy, index=False)
    found = collect(DataSet(dataset=DataSetName.table, root=str(copy)), Role.target, 0)
    items = {Path(item.path).relative_to(pictures).as_posix(): item for item in found.items}
    assert {path: item.split for path, item in items.items()} == {
        "cats/2.png": "val",
        "dogs/1.png": "train",
        "cats/1.png": "train",
        "cats/8.png": "test",
        "dogs/9.png": "test",
    }
    assert items["cats/2.png"].label == "dogs"
    assert items["dogs/1.png"].group == "rex"
    # without it the next test would count pictures of one dog as independent
    assert items["dogs/9.png"].group == "pack"


def test_pictures_in_the_repository_are_found_when_it_was_moved(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    table = labels_table(RANKED, PREDICTIONS, "pets")
    assert list(table["path"][:2]) == ["pets/cats/2.png", "pets/dogs/1.png"]
    assert table.equals(labels_table(RANKED, PREDICTIONS, str(pictures)))
    moved, elsewhere = tmp_path / "moved", tmp_path / "elsewhere"
    elsewhere.mkdir()
    moved.mkdir()
    pictures.rename(moved / "pets")
    monkeypatch.chdir(moved)
    for copy in (moved / "corrected.csv", elsewhere / "corrected.csv"):
        table.to_csv(copy, index=False)
        found = collect(DataSet(dataset=DataSetName.table, root=str(copy)), Role.target, 0)
        assert [item.path for item in found.items] == sorted(table["path"])


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_pictures_are_found_below_folders_that_all_lie_in_whatever_form_their_names_have(
    tmp_path: Path, form: Literal["NFC", "NFD"]
) -> None:
    root = tmp_path / "leaves"
    for path in ("élm/1.png", "oak/1.png"):
        file = root / "leaves" / "images" / unicodedata.normalize(form, path)
        file.parent.mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(file)
    folder = DataSet(dataset=DataSetName.image_folder, root=str(root))
    ranked = pd.DataFrame([vars(item) for item in collect(folder, Role.target, 0).items])
    table = labels_table(ranked, PREDICTIONS.iloc[:0], str(root))
    assert all(Path(path).is_file() for path in table["path"])
    copy = tmp_path / "corrected.csv"
    table.to_csv(copy, index=False)
    again = collect(DataSet(dataset=DataSetName.table, root=str(copy)), Role.target, 0)
    assert [item.label for item in again.items] == ["oak", "élm"]


def test_pictures_elsewhere_are_named_by_their_whole_path_however_the_folder_was(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "repository").mkdir()
    monkeypatch.chdir(tmp_path / "repository")
    table = labels_table(RANKED, PREDICTIONS, "../pets")
    assert list(table["path"][:2]) == [str(pictures / "cats" / "2.png"), str(pictures / "dogs" / "1.png")]


def test_test_pictures_come_last_once_each(pictures: Path) -> None:
    table = labels_table(RANKED, PREDICTIONS, str(pictures))
    assert list(table["path"]) == [
        str(pictures / path) for path in [*RANKED["path"], "cats/8.png", "dogs/9.png"]
    ]


def test_pictures_of_a_table_lie_beside_it(pictures: Path) -> None:
    (pictures / "labels.csv").touch()
    table = labels_table(RANKED, PREDICTIONS, str(pictures / "labels.csv"))
    assert table["path"].iloc[0] == str(pictures / "cats/2.png")


def test_without_files_pictures_are_named_as_the_data_set_calls_them() -> None:
    table = labels_table(RANKED, PREDICTIONS, None)
    assert list(table["path"][:3]) == list(RANKED["path"])
