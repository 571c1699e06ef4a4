"""What is shown of a data set: numbers of all its pictures, thumbnails of odd ones, of test pictures none."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from thawline.artifacts import Artifacts, read_json
from thawline.config.choices import Groups
from thawline.config.sections import Config, DataSetName, Input, Role, Target
from thawline.data.prepare import prepare
from thawline.models.preprocessing import transform_for


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory, write_pictures: Any) -> Artifacts:
    """Ten cats and dogs, of which some are dark, small, twice there, of two labels or no picture."""
    folder = tmp_path_factory.mktemp("showing")
    root = folder / "set"
    write_pictures(root, {"train/cat": 10, "train/dog": 10, "test/cat": 5, "test/dog": 5})
    cat, dog = root / "train" / "cat", root / "train" / "dog"
    shutil.copy(cat / "001.png", cat / "twice.png")
    shutil.copy(cat / "002.png", dog / "both.png")
    shutil.copy(root / "test" / "dog" / "000.png", dog / "seen.png")
    Image.fromarray(np.full((8, 8, 3), 3, np.uint8)).save(cat / "dark.png")
    (dog / "broken.png").write_text("not a picture")
    groups = [f"train/dog/{number:03d}.png,one" for number in range(4)]
    (root / "groups.csv").write_text("\n".join(["path,group", *groups]))
    target = Target(
        dataset=DataSetName.image_folder, root=str(root), near_duplicate_bits=-1, groups=Groups.partial
    )
    artifacts = Artifacts.under(folder)
    prepare(Config(role=Role.target, input=Input(size=16), target=target), transform_for, artifacts)
    return artifacts


@pytest.fixture
def shown(artifacts: Artifacts) -> dict[str, Any]:
    found: dict[str, Any] = read_json(artifacts.data("pictures") / "pictures.json")
    return found


def paths(entries: list[dict[str, Any]]) -> list[str]:
    return [Path(entry["path"]).name for entry in entries]


def test_sizes_files_and_groups_are_counted(shown: dict[str, Any]) -> None:
    assert shown["sizes"] == {"different": 2, "common": [["24 × 20", 30], ["8 × 8", 1]]}
    assert shown["kinds"] == {"different": 1, "common": [["PNG, RGB", 31]]}
    assert shown["groups"] == [4]
    assert shown["counts"]["test"] == {"cat": 5, "dog": 5}


def test_darkest_and_smallest_come_first(shown: dict[str, Any]) -> None:
    assert paths(shown["extremes"]["darkest"])[0] == "dark.png"
    assert shown["extremes"]["darkest"][0]["said"] == "mean brightness 1 %"
    assert paths(shown["extremes"]["smallest"])[0] == "dark.png"
    assert "dark.png" not in paths(shown["extremes"]["brightest"])


def test_what_looks_alike_is_shown_together(shown: dict[str, Any]) -> None:
    (group,) = shown["near_duplicates"]["shown"]
    assert paths(group["shown"]) == ["001.png", "twice.png"]
    assert {entry["said"] for entry in group["shown"]} <= {"train", "val"}


def test_what_was_left_out_is_shown_with_the_reason_where_it_can_be_decoded(shown: dict[str, Any]) -> None:
    found = {each["reason"]: each for each in shown["left_out"]}
    both = found["the same picture has several labels"]
    assert both["pictures"] == 2
    assert {entry["said"] for entry in both["shown"]} == {"cat, dog"}
    assert all(entry["thumbnail"] for entry in both["shown"])
    (broken,) = found["cannot be read"]["shown"]
    assert (broken["label"], broken["thumbnail"]) == ("dog", None)
    (seen,) = found["a train picture that looks like a given test picture"]["shown"]
    # its thumbnail would be that of the test picture
    assert (Path(seen["path"]).name, seen["thumbnail"]) == ("seen.png", None)


def test_no_test_picture_is_shown(shown: dict[str, Any], artifacts: Artifacts) -> None:
    entries = [entry for entries in shown["extremes"].values() for entry in entries]
    entries += [entry for group in shown["near_duplicates"]["shown"] for entry in group["shown"]]
    entries += [entry for each in shown["left_out"] for entry in each["shown"]]
    assert not [entry["path"] for entry in entries if entry["path"].startswith("test/")]
    named = {entry["thumbnail"] for entry in entries} - {None}
    files = {path.name for path in artifacts.data("pictures").iterdir()}
    assert files == named | {"pictures.json"}
