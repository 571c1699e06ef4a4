"""Pictures without a label: none that is also a labelled one, and what was left out is said."""

import json
import re
import shutil
from pathlib import Path

import pytest

from thawline.artifacts import PICTURES, Artifacts
from thawline.config.errors import UserError
from thawline.config.sections import Config, DataSetName, Input, Role, Target
from thawline.data.prepare import prepare
from thawline.data.store import Store, open_store
from thawline.models.preprocessing import transform_for


def run(folder: Path, more: Path | None, **fields) -> Artifacts:
    """Prepare the pictures in `folder`/set, and those of `more` without labels."""
    target = Target(
        dataset=DataSetName.image_folder,
        root=str(folder / "set"),
        unlabelled=more and str(more),
        test_fraction=0.25,
        **fields,
    )
    artifacts = Artifacts.under(folder)
    prepare(Config(target=target, role=Role.target, input=Input(size=16)), transform_for, artifacts)
    return artifacts


def unlabelled(artifacts: Artifacts) -> Store:
    return open_store(artifacts.data_output("unlabelled"))


@pytest.fixture
def labelled(tmp_path, write_pictures) -> Path:
    write_pictures(tmp_path / "set", {"cat": 8, "dog": 8})
    return tmp_path / "set"


def test_they_become_a_store_of_their_own(tmp_path, labelled, write_pictures):
    write_pictures(tmp_path / "more", {"": 3, "deeper/down": 2})
    artifacts = run(tmp_path, tmp_path / "more")
    store, target = unlabelled(artifacts), open_store(artifacts.data_output("target"))
    assert list(store.manifest["path"]) == [
        "000.png",
        "001.png",
        "002.png",
        "deeper/down/000.png",
        "deeper/down/001.png",
    ]
    assert set(store.manifest["split"]) == {"unlabelled"}
    assert set(store.manifest["label"]) == {""}
    assert (store.classes, store.transform) == (target.classes, target.transform)


def test_without_any_the_artifact_says_so_and_the_others_stay_as_they_are(tmp_path, labelled, write_pictures):
    without = run(tmp_path, None)
    with pytest.raises(UserError, match=r"holds no pictures: target\.unlabelled is null"):
        unlabelled(without)
    before = open_store(without.data_output("target")).fingerprint
    write_pictures(tmp_path / "more", {"": 3})
    assert open_store(run(tmp_path, tmp_path / "more").data_output("target")).fingerprint == before


def test_doubles_of_labelled_pictures_and_of_each_other_are_left_out_and_counted(
    tmp_path, labelled, write_pictures, caplog
):
    artifacts = run(tmp_path, None, near_duplicate_bits=2)
    of = {
        split: list(open_store(artifacts.data_output(name)).part(split).manifest["path"])
        for name, split in (("target", "train"), ("target", "val"), ("test", "test"))
    }
    (own, *_) = write_pictures(tmp_path / "more", {"": 2})
    shutil.copy(own, tmp_path / "more" / "again.png")
    (tmp_path / "more" / "damaged.png").write_text("no picture")
    for split, paths in of.items():
        for path in paths[:2]:
            shutil.copy(labelled / path, tmp_path / "more" / f"{split}-{path.replace('/', '-')}")
    with caplog.at_level("INFO"):
        artifacts = run(tmp_path, tmp_path / "more", near_duplicate_bits=2)
    assert list(unlabelled(artifacts).manifest["path"]) == ["000.png", "001.png"]
    said = "\n".join(caplog.messages)
    for split in ("training", "validation", "test"):
        assert re.search(rf"2 pictures of \S+more left out: it looks like a {split} picture", said)
    assert re.search(r"1 picture of \S+more left out: it looks like another unlabelled picture", said)
    shown = json.loads((artifacts.data_output("pictures") / PICTURES).read_text())["left_out"]
    found = {each["reason"]: each["pictures"] for each in shown}
    assert found["unlabelled: cannot be read"] == 1
    assert found["unlabelled: it looks like a test picture"] == 2


def test_the_labelled_folder_may_give_what_was_not_needed_of_it(tmp_path, labelled):
    artifacts = run(tmp_path, labelled, train_per_class=2)
    store, target = unlabelled(artifacts), open_store(artifacts.data_output("target"))
    test = open_store(artifacts.data_output("test"))
    assert len(store) == 16 - len(target) - len(test) > 0
    assert set(store.manifest["content_hash"]).isdisjoint(target.manifest["content_hash"])
    assert set(store.manifest["content_hash"]).isdisjoint(test.manifest["content_hash"])


def test_what_was_not_needed_does_not_teach_where_its_group_is_tested(tmp_path, labelled):
    paths = sorted(str(each.relative_to(labelled)) for each in labelled.rglob("*.png"))
    group_of = {path: f"{path[:3]} {place // 2}" for place, path in enumerate(paths)}
    lines = ["path,group", *(f"{path},{group}" for path, group in group_of.items())]
    (labelled / "groups.csv").write_text("\n".join(lines))
    artifacts = run(tmp_path, labelled, train_per_class=1, val_per_class=1)
    target, test = (open_store(artifacts.data_output(name)).manifest for name in ("target", "test"))
    held = {*test["group"], *target["group"][target["split"] == "val"]}
    used, taught = {*target["path"], *test["path"]}, unlabelled(artifacts).manifest["path"]
    grouped = {path for path in paths if path not in used and group_of[path] in held}
    assert grouped
    assert {*taught} == {*paths} - used - grouped
    shown = json.loads((artifacts.data_output("pictures") / PICTURES).read_text())["left_out"]
    found = {each["reason"]: each["pictures"] for each in shown}
    assert found["unlabelled: its group has validation or test pictures"] == len(grouped)


def test_a_folder_of_which_nothing_is_left_is_refused(tmp_path, labelled):
    with pytest.raises(
        UserError, match=r"(?s)none of its pictures is left.*it looks like a test picture.*null"
    ):
        run(tmp_path, labelled)


def test_a_folder_that_holds_no_pictures_or_does_not_exist_is_refused(tmp_path, labelled):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"target\.unlabelled = '\S+empty': there are no pictures"):
        run(tmp_path, tmp_path / "empty")
    with pytest.raises(UserError, match=r"target\.unlabelled = .*gone does not exist.*\n.*=null"):
        run(tmp_path, tmp_path / "gone")
