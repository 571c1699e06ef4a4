"""The stage on toy pictures: what it writes, what it reads, and that it repeats."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import write_toy_artifacts
from PIL import Image

from thawline.artifacts import LABELS, REVIEW, Artifacts, read_json
from thawline.config.sections import Config, DataSetName, Plan, Target, Trainer
from thawline.data.store import open_store, write_store
from thawline.plan.plan import plan
from thawline.review.review import review

CONFIG = Config(target=Target(dataset=DataSetName.digits), trainer=Trainer(accelerator="cpu", threads=1))
WRONG = ("train/1.png", "val/4.png")


@pytest.fixture(scope="module")
def reviewed(tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    """The look at toy pictures with two wrong labels; the test pictures are not there."""
    artifacts = write_toy_artifacts(tmp_path_factory.mktemp("review"))
    shutil.rmtree(artifacts.data("test"))
    with_wrong_labels(artifacts)
    review(CONFIG, artifacts)
    return artifacts


def with_wrong_labels(artifacts: Artifacts) -> None:
    store = open_store(artifacts.data("target"))
    wrong = store.manifest["path"].isin(WRONG)
    other = store.manifest["label"].map({"across": "down", "down": "across"})
    manifest = store.manifest.assign(label=store.manifest["label"].where(~wrong, other))
    write_store(
        artifacts.data_output("target"), np.array(store.images), manifest, store.classes, store.transform
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_wrong_labels_are_among_the_first_with_the_class_they_look_like(reviewed: Artifacts) -> None:
    found = read_json(reviewed.stage("review") / REVIEW)
    assert set(WRONG) <= {each["path"] for each in found["labels"]}
    assert found["doubtful"] <= 4
    labels = open_store(reviewed.data("target")).manifest.set_index("path")["label"]
    for suspect in found["labels"]:
        assert suspect["label"] == labels[suspect["path"]] != suspect["likelier"]
        assert 0 < suspect["confidence"] <= 1
    assert found["pictures"] == 32
    assert len(found["labels"]) == found["doubtful"]
    assert f"{found['doubtful']} of 32 labels are worth a second look" in found["sentence"]


def test_each_has_a_thumbnail_and_nobody_else(reviewed: Artifacts) -> None:
    folder = reviewed.stage("review")
    found = read_json(folder / REVIEW)
    files = {path.name for path in (folder / "pictures").iterdir()}
    assert files == {each["thumbnail"] for each in found["labels"]}
    with Image.open(folder / "pictures" / found["labels"][0]["thumbnail"]) as picture:
        assert (picture.format, picture.mode, picture.size) == ("WEBP", "RGB", (16, 16))


def test_all_pictures_are_ranked_in_the_columns_of_a_table(reviewed: Artifacts) -> None:
    table = pd.read_csv(reviewed.stage("review") / LABELS, keep_default_na=False)
    assert list(table) == ["path", "label", "group", "split"]
    assert set(table["path"]) == set(open_store(reviewed.data("target")).manifest["path"])
    first = [each["path"] for each in read_json(reviewed.stage("review") / REVIEW)["labels"]]
    assert list(table["path"][: len(first)]) == first


@pytest.mark.slow
def test_the_same_pictures_give_the_same_bytes(reviewed: Artifacts) -> None:
    before = contents(reviewed.stage("review"))
    review(CONFIG, reviewed)
    assert contents(reviewed.stage("review")) == before


@pytest.mark.slow
def test_what_a_plan_stored_of_the_pictures_is_read(
    toy_artifacts: Artifacts, caplog: pytest.LogCaptureFixture
) -> None:
    plan(Config(target=CONFIG.target, plan=Plan(5.0), trainer=CONFIG.trainer), toy_artifacts)
    caplog.set_level("INFO")
    caplog.clear()
    review(CONFIG, toy_artifacts)
    assert "computing" not in caplog.text
    assert "labels" in caplog.text


def test_one_picture_of_each_class_is_too_few_to_say_anything(toy_artifacts: Artifacts) -> None:
    store = open_store(toy_artifacts.data("target"))
    few = store.manifest.iloc[:2]
    write_store(
        toy_artifacts.data_output("target"), np.array(store.images[:2]), few, store.classes, store.transform
    )
    review(CONFIG, toy_artifacts)
    found = read_json(toy_artifacts.stage("review") / REVIEW)
    assert (found["labels"], found["more_pictures"]["points"], found["doubtful"]) == ([], [], 0)
    assert "Too few pictures" in found["sentence"]
