"""The whole stage: stores, cards and what a person is told."""

import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests_prepare import card
from tests_prepare import prepared as run

from thawline.config.errors import UserError
from thawline.config.sections import DataSetName, Role
from thawline.data import prepare as prepare_module
from thawline.data.decoding import read
from thawline.data.store import Store, open_store

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def split_counts(store: Store) -> dict[str, int]:
    return dict(Counter(store.manifest["split"]))


def test_a_target_becomes_two_stores(tmp_path, write_pictures):
    write_pictures(tmp_path / "set", {"cat": 20, "dog": 40})
    artifacts = run(tmp_path, root=str(tmp_path / "set"), val_fraction=0.2, test_fraction=0.25)
    target, test = (open_store(artifacts.data_output(name)) for name in ("target", "test"))
    assert split_counts(target) == {"train": 36, "val": 9}
    assert {name: len(target.part(name)) for name in ("train", "val")} == split_counts(target)
    assert split_counts(test) == {"test": 15}
    assert target.classes == test.classes == ("cat", "dog")
    assert card(artifacts, "target")["counts"] == {
        "train": {"cat": 12, "dog": 24},
        "val": {"cat": 3, "dog": 6},
        "test": {"cat": 5, "dog": 10},
    }
    names = {path.name for path in artifacts.data_output("target").parent.iterdir()}
    assert names == {"target", "test", "unlabelled", "pictures"}


def test_copies_of_a_picture_are_of_one_group(tmp_path, write_pictures):
    for path in write_pictures(tmp_path / "set", {"cat": 8, "dog": 8}):
        shutil.copyfile(path, path.with_name(f"again_{path.name}"))
    artifacts = run(tmp_path, root=str(tmp_path / "set"))
    for name in ("target", "test"):
        manifest = open_store(artifacts.data_output(name)).manifest
        things = [path.replace("again_", "") for path in manifest["path"]]
        assert list(manifest["group"].groupby(things).nunique()) == [1] * (len(manifest) // 2)
        assert manifest["group"].nunique() == len(manifest) // 2


def test_rows_hold_the_pictures_their_paths_name(tmp_path, write_pictures, transform):
    from PIL import Image

    write_pictures(tmp_path / "set", {"cat": 6, "dog": 6})
    store = open_store(run(tmp_path, root=str(tmp_path / "set")).data_output("target"))
    for row, path in enumerate(store.manifest["path"]):
        with Image.open(tmp_path / "set" / path) as picture:
            np.testing.assert_array_equal(store.images[row], read(transform, picture)[0])
        assert store.manifest["label"][row] == path.split("/")[0] == store.classes[store.labels[row]]


def test_classes_and_their_numbers_are_said_before_anything_else(tmp_path, write_pictures, caplog):
    write_pictures(
        tmp_path / "set", {"Training/cat": 8, "Training/dog": 9, "Testing/cat": 3, "Testing/dog": 4}
    )
    with caplog.at_level("INFO"):
        run(tmp_path, root=str(tmp_path / "set"))
    assert caplog.messages[:4] == [
        "target: 24 pictures of 2 classes found",
        "          train      test",
        "  cat         8         3",
        "  dog         9         4",
    ]


def damaged(root: Path, write_pictures: Callable[..., list[Path]]) -> Path:
    """Pictures of which some are damaged in ways that decoders have their own words for."""
    paths = write_pictures(root, {"cat": 12, "dog": 12})
    whole = paths[0].read_bytes()
    broken = [
        b"",
        b"no picture",
        whole[:40],
        whole[: len(whole) // 2],
        b"\xff\xd8\xff\xe0" + whole,
        b"GIF89a",
    ]
    broken += [b"II*\0\xff\xff\xff\xff", b"BM" + whole, b"RIFF\0\0\0\0WEBP"]
    for number, content in enumerate(broken):
        (root / "cat" / f"broken {number}.png").write_bytes(content)
    (root / "dog" / "gone.png").symlink_to(root / "nowhere.png")
    (root / "dog" / "1.nef").touch()
    (root / "dog" / "2.dng").touch()
    return root


@pytest.mark.slow
def test_damaged_pictures_give_the_same_bytes_wherever_and_whenever(tmp_path, write_pictures):
    damaged(tmp_path / "set", write_pictures)
    shutil.copytree(tmp_path / "set", tmp_path / "deeper" / "copy", symlinks=True)
    run(tmp_path / "a", root=str(tmp_path / "set"))
    # in another process: addresses and whatever else a process has differ
    code = "import sys, tests_prepare; tests_prepare.prepared(sys.argv[1], root=sys.argv[2])"
    arguments = [sys.executable, "-c", code, str(tmp_path / "b"), str(tmp_path / "deeper" / "copy")]
    subprocess.run(arguments, check=True, env={**os.environ, "PYTHONPATH": f"{ROOT}/src:{ROOT}/tests"})
    files = {path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file()}
    assert len([name for name in files if name.suffix != ".webp"]) == 8
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    assert "0x" not in (tmp_path / "a/artifacts/prepare/target/card.json").read_text()


def test_a_source_becomes_one_store_without_test_pictures(tmp_path, write_pictures):
    write_pictures(tmp_path / "set", {"train/cat": 10, "train/dog": 10, "test/cat": 5, "test/dog": 5})
    artifacts = run(tmp_path, Role.source, root=str(tmp_path / "set"), val_fraction=0.2)
    assert split_counts(open_store(artifacts.data_output("source"))) == {"train": 16, "val": 4}
    assert card(artifacts, "source")["notes"] == ["10 test pictures are not used: a source is not tested"]
    assert not artifacts.data_output("test").exists()


def test_published_weights_as_a_source_leave_a_note(tmp_path):
    artifacts = run(tmp_path, Role.source, dataset=None, weights="DEFAULT")
    with pytest.raises(UserError, match="holds no pictures: the source is published weights"):
        open_store(artifacts.data_output("source"))


def test_everything_left_out_is_on_the_card(tmp_path, write_pictures, caplog):
    root = tmp_path / "set"
    paths = write_pictures(root, {"train/cat": 12, "train/dog": 12, "test/cat": 4, "test/dog": 4})
    paths[0].write_text("not a picture")
    shutil.copy(root / "train/cat/001.png", root / "train/dog/again.png")
    shutil.copy(root / "test/cat/000.png", root / "train/cat/seen.png")
    paths[2].rename(root / "train" / "loose.png")
    with caplog.at_level("INFO"):
        artifacts = run(tmp_path, root=str(root), train_per_class=5, val_per_class=2)
    report = card(artifacts, "target")
    assert {picture["path"]: picture["reason"] for picture in report["dropped"]} == {
        "train/cat/000.png": "cannot be read",
        "train/cat/001.png": "the same picture has several labels",
        "train/dog/again.png": "the same picture has several labels",
        "train/cat/seen.png": "a train picture that looks like a given test picture",
        "train/loose.png": "not in a class folder",
    }
    assert report["counts"]["train"] == {"cat": 5, "dog": 5}
    assert report["not_needed"] == 9 + 12 - 2 * 7
    assert report["near_duplicate_groups"] == [["test/cat/000.png", "train/cat/seen.png"]]
    assert (
        "2 pictures: left out: the same picture has several labels; the first is train/cat/001.png (cat, dog)"
        in caplog.messages
    )
    assert "target: 10 train, 4 val, 8 test" in caplog.messages


def test_a_failure_leaves_the_old_store(tmp_path, write_pictures):
    paths = write_pictures(tmp_path / "set", {"cat": 8, "dog": 8})
    artifacts = run(tmp_path, root=str(tmp_path / "set"))
    before = open_store(artifacts.data_output("target")).fingerprint
    for path in paths[:8]:
        path.unlink()
    with pytest.raises(UserError, match="only one, dog, can be used"):
        run(tmp_path, root=str(tmp_path / "set"))
    assert open_store(artifacts.data_output("target")).fingerprint == before


def test_killed_between_two_stores_no_test_pictures_of_another_split_remain(
    tmp_path, write_pictures, monkeypatch
):
    write_pictures(tmp_path / "set", {"cat": 8, "dog": 8})
    artifacts = run(tmp_path, root=str(tmp_path / "set"))
    write = prepare_module.write_store

    def killed(directory: Path, *arguments, **options) -> None:
        if directory.name == "test":
            raise KeyboardInterrupt
        write(directory, *arguments, **options)

    monkeypatch.setattr(prepare_module, "write_store", killed)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, root=str(tmp_path / "set"), seed=1)
    open_store(artifacts.data_output("target"))
    with pytest.raises(UserError, match="does not exist"):
        open_store(artifacts.data_output("test"))


def test_glyphs(tmp_path):
    artifacts = run(
        tmp_path,
        Role.source,
        dataset=DataSetName.glyphs,
        glyphs_per_class=4,
        val_fraction=0.25,
        near_duplicate_bits=-1,
    )
    store = open_store(artifacts.data_output("source"))
    assert split_counts(store) == {"train": 156, "val": 52}
    assert len(store.classes) == 52
    assert store.images.shape[1:] == (16, 16, 3)


def test_digits(tmp_path):
    artifacts = run(
        tmp_path, dataset=DataSetName.digits, train_per_class=3, val_per_class=5, near_duplicate_bits=-1
    )
    target, test = (open_store(artifacts.data_output(name)) for name in ("target", "test"))
    assert target.classes == tuple("0123456789")
    assert split_counts(target) == {"train": 30, "val": 50}
    assert split_counts(test) == {"test": 1797 - 80}
    assert not set(target.manifest["path"]) & set(test.manifest["path"])


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "train", "test"),
    [
        ("hotdog", {"hotdog": 274, "nothotdog": 272}, {"hotdog": 225, "nothotdog": 225}),
        ("antsbees", {"ants": 123, "bees": 121}, {"ants": 70, "bees": 83}),
    ],
)
def test_real_photographs_arrive_complete(tmp_path, name, train, test):
    archive = SHARED / f"{name}.tar"
    if not archive.exists():
        pytest.skip(f"{archive.name} is not beside the checkout")
    artifacts = run(tmp_path, root=str(archive), size=64, val_fraction=0.2)
    report = card(artifacts, "target")
    assert report["dropped"] == []
    assert report["counts"]["test"] == test
    assert {
        label: report["counts"]["train"][label] + report["counts"]["val"][label] for label in train
    } == train
    for label, count in train.items():
        assert report["counts"]["val"][label] == pytest.approx(0.2 * count, abs=1)
    assert open_store(artifacts.data_output("test")).images.shape == (sum(test.values()), 64, 64, 3)
