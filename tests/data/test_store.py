"""A store is whole or absent, comes back as it was written, and notices when it was changed."""

import contextlib
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thawline.artifacts import file_hash
from thawline.config.errors import UserError
from thawline.data import store as store_module
from thawline.data.split_names import VOTED
from thawline.data.store import COLUMNS, PSEUDO, groups_of, open_store, write_absence, write_store

SPLITS = ["train", "train", "train", "val", "val"]


def manifest(labels: list[str], splits: list[str] | None = None) -> pd.DataFrame:
    count = len(labels)
    columns = {
        "path": [f"{index}.png" for index in range(count)],
        "label": labels,
        "split": splits or ["train"] * count,
        "group": [""] * count,
        "content_hash": ["ab"] * count,
        "width": range(count),
        "height": [7] * count,
    }
    return pd.DataFrame(columns)[list(COLUMNS)]


def pictures(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 16, 16, 3), np.uint8)


def write(directory: Path, transform, seed: int = 0) -> None:
    write_store(
        directory,
        pictures(5, seed),
        manifest(["a", "b", "a", "b", "a"], SPLITS),
        ("a", "b"),
        transform,
        card={"notes": [f"seed {seed}"]},
    )


def require_as_written(directory: Path) -> None:
    card = json.loads((directory / "card.json").read_text())
    for name in ("manifest.csv", "images.npy"):
        assert file_hash(directory / name) == card[f"{name[:-4]}_sha256"]


@pytest.fixture
def directory(tmp_path, transform) -> Path:
    write(tmp_path / "target", transform)
    return tmp_path / "target"


def test_what_was_written_is_read(directory, transform):
    store = open_store(directory)
    np.testing.assert_array_equal(store.images, pictures(5))
    pd.testing.assert_frame_equal(
        store.manifest, manifest(["a", "b", "a", "b", "a"], SPLITS), check_dtype=False, check_index_type=False
    )
    assert store.labels.tolist() == [0, 1, 0, 1, 0]
    assert (store.classes, store.transform, len(store)) == (("a", "b"), transform, 5)
    assert isinstance(store.images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        store.images[0] = 0


def test_rows_choose_and_order_the_pictures(tmp_path, transform):
    rows = np.array([4, 0, 2])
    write_store(tmp_path, pictures(5), manifest(["a", "b", "a"]), ("a", "b"), transform, rows=rows)
    np.testing.assert_array_equal(open_store(tmp_path).images, pictures(5)[rows])


def test_large_stores_are_copied_in_blocks(tmp_path, transform, monkeypatch):
    monkeypatch.setattr(store_module, "_BLOCK_BYTES", 2 * 16 * 16 * 3)
    write(tmp_path, transform)
    np.testing.assert_array_equal(open_store(tmp_path).images, pictures(5))


def test_a_part_is_a_view_of_one_split(directory):
    store = open_store(directory)
    part = store.part("val")
    assert part.manifest["path"].tolist() == ["3.png", "4.png"]
    assert part.labels.tolist() == [1, 0]
    np.testing.assert_array_equal(part.images, store.images[3:])
    assert np.shares_memory(part.images, store.images)
    assert len({store.fingerprint, part.fingerprint, store.part("train").fingerprint}) == 3
    assert len(store.part("test")) == 0


def test_scattered_splits_are_refused(tmp_path, transform):
    splits = ["train", "val", "train"]
    write_store(tmp_path, pictures(3), manifest(["a", "b", "a"], splits), ("a", "b"), transform)
    with pytest.raises(ValueError, match="not next to each other"):
        open_store(tmp_path).part("train")


def test_pictures_that_are_divided_as_they_lie_are_not_copied(directory):
    store = open_store(directory)
    whole = store.undivided()
    assert np.shares_memory(whole.images, store.images)
    assert (whole.manifest["split"] == "train").all()


def test_a_store_may_be_divided_otherwise(directory):
    store = open_store(directory)
    other = store.divided(np.array([3, 0]), np.array([4, 1, 2]))
    for split, rows in (("train", [3, 0]), ("val", [4, 1, 2])):
        part = other.part(split)
        np.testing.assert_array_equal(part.images, store.images[rows])
        assert list(part.manifest["path"]) == [f"{row}.png" for row in rows]
        np.testing.assert_array_equal(part.labels, store.labels[rows])
    assert list(store.manifest["split"]) == SPLITS
    swapped = store.divided(np.array([4, 1, 2]), np.array([3, 0]))
    assert len({each.fingerprint for each in (store, other, swapped)}) == 3


def test_a_part_of_a_part_knows_where_its_pictures_come_from(directory):
    store = open_store(directory)
    assert store.origin is None
    divided = store.divided(np.array([3, 0]), np.array([4, 1, 2]))
    for part in (divided, divided.part("train"), divided.part("val"), store.part("val")):
        whole, rows = part.origin
        assert whole is store
        np.testing.assert_array_equal(whole.images[rows], part.images)


def test_pictures_without_a_group_are_on_their_own():
    table = pd.DataFrame({"path": ["a", "b", "c", "d"], "group": ["leaf", "", "leaf", ""]})
    assert groups_of(table).tolist() == [2, 0, 2, 1]


def test_a_store_may_be_empty(tmp_path, transform):
    write_store(tmp_path, pictures(0), manifest([]), ("a", "b"), transform)
    assert len(open_store(tmp_path)) == 0


def test_as_many_rows_as_images(tmp_path, transform):
    with pytest.raises(ValueError, match="5 images but 2 rows"):
        write_store(tmp_path, pictures(5), manifest(["a", "b"]), ("a", "b"), transform)


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0/"), min_size=1, max_size=12)


@settings(max_examples=10)
@given(names=st.lists(NAMES, min_size=1, max_size=4, unique=True))
def test_any_label_comes_back_as_it_was(tmp_path_factory, transform, names):
    directory = tmp_path_factory.mktemp("labels")
    write_store(directory, pictures(len(names)), manifest(names), tuple(sorted(names)), transform)
    store = open_store(directory)
    assert store.manifest["label"].tolist() == names
    assert [store.classes[label] for label in store.labels] == names


def test_equal_contents_give_equal_bytes_and_the_fingerprint_follows_them(tmp_path, transform):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        write(tmp_path / name, transform, seed)
    for name in ("images.npy", "manifest.csv", "card.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    same, again, other = (open_store(tmp_path / name).fingerprint for name in "abc")
    assert same == again != other


def test_a_missing_store_says_which_command_makes_it(tmp_path):
    with pytest.raises(UserError, match=r"card\.json does not exist.*\n.*dvc repro"):
        open_store(tmp_path / "artifacts" / "target")


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("manifest.csv", lambda path: path.write_text("path\n"), "manifest.csv was changed"),
        ("manifest.csv", Path.unlink, "No such file"),
        ("images.npy", lambda path: os.truncate(path, 900), "damaged"),
        ("images.npy", Path.unlink, "No such file"),
        ("images.npy", lambda path: np.save(path, pictures(4)), r"images.npy has shape \(4"),
        ("images.npy", lambda path: np.save(path, pictures(5).astype("i4")), "images.npy holds int32"),
        ("card.json", lambda path: path.write_text("{"), "not valid JSON"),
        ("card.json", lambda path: path.write_text("[]"), "another format"),
        ("card.json", lambda path: path.write_text('{"format": 1}'), "manifest_sha256"),
        ("card.json", lambda path: path.write_text(json.dumps({"format": 0})), "another format"),
    ],
)
def test_damage_is_noticed(directory, name, damage, message):
    damage(directory / name)
    with pytest.raises(UserError, match=message):
        open_store(directory)


class Killed(BaseException):
    """As good as SIGKILL: nothing catches it, and afterwards nobody cleans up."""


STEPS = {"unlink": Path, "replace": os, "fsync": os}


@pytest.mark.parametrize("step", range(11))
def test_killed_at_any_step_a_whole_store_is_there_or_none(directory, transform, monkeypatch, step):
    """The writer's changes to the disk, one after the other, with the process dying before each."""
    write(directory.parent / "new", transform, seed=1)
    old, new = open_store(directory).fingerprint, open_store(directory.parent / "new").fingerprint
    left = iter(range(step))

    def dying(real):
        def call(*arguments, **options):
            if next(left, None) is None:
                raise Killed
            return real(*arguments, **options)

        return call

    with monkeypatch.context() as patch, contextlib.suppress(Killed):
        for name, owner in STEPS.items():
            patch.setattr(owner, name, dying(getattr(owner, name)))
        write(directory, transform, seed=1)
    try:
        found = open_store(directory).fingerprint
    except UserError:
        found = None
    else:
        require_as_written(directory)  # what opens is no mixture of two stores
    assert found in (old, new, None)
    assert step > 0 or found == old
    assert step < 10 or found == new
    write(directory, transform, seed=2)
    require_as_written(directory)
    assert sorted(path.name for path in directory.iterdir()) == ["card.json", "images.npy", "manifest.csv"]


def test_what_a_killed_process_left_is_cleared_away(directory, transform):
    (directory / ".images.npy.12345.partial").write_bytes(b"half")
    write(directory, transform)
    assert sorted(path.name for path in directory.iterdir()) == ["card.json", "images.npy", "manifest.csv"]


def test_a_failure_before_the_end_keeps_the_old_store(directory, transform, monkeypatch):
    before = open_store(directory).fingerprint

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store_module, "_write_images", full)
    with pytest.raises(OSError, match="No space"):
        write(directory, transform, seed=1)
    assert open_store(directory).fingerprint == before


def test_too_small_a_disk_is_said_before_anything_is_written(directory, transform, monkeypatch):
    usage = store_module.shutil.disk_usage(directory)._replace(free=10)
    monkeypatch.setattr(store_module.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UserError, match=r"needs 0 MiB, its disk has 0 MiB left"):
        write(directory, transform, seed=1)
    require_as_written(directory)


def test_absence_is_explained(directory):
    write_absence(directory, "the source is published weights")
    with pytest.raises(UserError, match="holds no pictures: the source is published weights"):
        open_store(directory)
    assert [path.name for path in directory.iterdir()] == ["card.json"]


def test_targets_go_with_their_pictures_and_change_what_a_training_is_but_not_its_features(toy_store):
    rows = np.random.default_rng(0).random((len(toy_store), 2))
    told = toy_store.taught(rows)
    assert toy_store.supervision is toy_store.labels
    np.testing.assert_array_equal(told.part("val").targets, rows[16:].astype(np.float32))
    np.testing.assert_array_equal(
        told.divided(np.array([3, 1]), np.array([0])).supervision, told.targets[[3, 1, 0]]
    )
    assert told.fingerprint != toy_store.fingerprint
    assert told.fingerprint != toy_store.taught(rows[::-1]).fingerprint
    # which pictures these are is known by the store that they come from
    assert told.part("train").origin[0] is toy_store


@pytest.mark.parametrize(
    "rows", [np.ones((3, 2)), np.zeros((32, 2)), -np.ones((32, 2)), np.full((32, 2), np.nan)]
)
def test_targets_that_teach_nothing_are_refused(toy_store, rows):
    with pytest.raises(ValueError, match="targets"):
        toy_store.taught(rows)


def test_what_voters_or_heads_have_labelled_teaches_and_are_in_no_other_part(tmp_path, transform, toy_store):
    splits = ["train", "train", VOTED, PSEUDO, "val"]
    write_store(
        tmp_path / "s", pictures(5), manifest(["a", "b", "a", "b", "a"], splits), ("a", "b"), transform
    )
    store = open_store(tmp_path / "s")
    assert list(store.labelled) == [0, 1, 4]
    assert (len(store.part("train")), len(store.teaching())) == (2, 4)
    np.testing.assert_array_equal(store.teaching().images, store.images[:4])
    divided = store.divided(np.array([4, 0]), np.array([1]))
    assert list(divided.manifest["split"]) == ["train", "train", VOTED, PSEUDO, "val"]
    np.testing.assert_array_equal(divided.images, store.images[[4, 0, 2, 3, 1]])
    # without them those that teach are the training pictures
    assert toy_store.teaching().fingerprint == toy_store.part("train").fingerprint


def test_a_picture_may_have_no_label(tmp_path, transform):
    write_store(tmp_path / "s", pictures(2), manifest(["", "b"]), ("a", "b"), transform)
    assert list(open_store(tmp_path / "s").labels) == [-1, 1]
