"""Every picture is decoded once, in order; those that cannot be are dropped with the reason."""

import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from thawline.config.errors import UserError
from thawline.data import scan as scan_module
from thawline.data import store
from thawline.data.collection import Collection, Item
from thawline.data.content import file_at
from thawline.data.decoding import read
from thawline.data.picture_files import Unreadable, open_picture
from thawline.data.scan import scan
from thawline.data.transform import Transform


def collection_of(folder: Path, *names: str) -> Collection:
    items = tuple(Item(name, label="a", split="train", group="g") for name in names)
    return Collection(items, lambda index: open_picture(file_at(folder / names[index])))


def test_images_and_what_is_known_of_them_come_in_order(tmp_path, transform, noise):
    names = [f"{index}.png" for index in range(50)]
    for name in names:
        noise(name).save(tmp_path / name)
    result = scan(collection_of(tmp_path, *names), transform, tmp_path)
    assert result.pictures["path"].tolist() == names
    for row in (0, 31, 49):
        np.testing.assert_array_equal(result.images[row], read(transform, noise(names[row]))[0])
    assert set(result.pictures["width"]) == {24}
    assert set(result.pictures["height"]) == {20}
    assert len(set(result.pictures["content_hash"])) == len(set(result.pictures["perceptual_hash"])) == 50


def test_hashes_see_the_picture_not_the_file(tmp_path, transform, noise):
    noise("x").save(tmp_path / "1.png")
    noise("x").save(tmp_path / "2.bmp")
    noise("x").save(tmp_path / "3.jpg", quality=90)
    table = scan(collection_of(tmp_path, "1.png", "2.bmp", "3.jpg"), transform, tmp_path).pictures
    same, other = table["content_hash"][0] == table["content_hash"][1:]
    assert (same, other) == (True, False)
    bits = [int(table["perceptual_hash"][0] ^ table["perceptual_hash"][row]).bit_count() for row in (1, 2)]
    assert bits[0] == 0
    assert bits[1] <= 4


def write_unreadable(folder: Path, noise) -> None:
    noise("x").save(folder / "good.png")
    whole = (folder / "good.png").read_bytes()
    (folder / "truncated.png").write_bytes(whole[:600])
    (folder / "header.png").write_bytes(whole[:20])
    (folder / "empty.png").touch()
    (folder / "text.png").write_text("not a picture")
    Image.new("F", (4, 4), 9.0).save(folder / "float.tif")
    Image.new("L", (900, 2)).save(folder / "sliver.png")


@pytest.mark.parametrize(
    ("name", "reason", "detail"),
    [
        ("truncated.png", "cannot be read", Unreadable.damaged),
        ("header.png", "cannot be read", Unreadable.damaged),
        ("empty.png", "cannot be read", Unreadable.empty),
        ("text.png", "cannot be read", Unreadable.unknown),
        ("missing.png", "cannot be read", Unreadable.missing),
        ("float.tif", "black and white are not defined", "floats from 9 to 9"),
        ("sliver.png", "cannot be used", "900 x 2 pixels are too narrow"),
    ],
)
def test_what_cannot_be_read_is_dropped_with_the_reason(tmp_path, transform, noise, name, reason, detail):
    write_unreadable(tmp_path, noise)
    result = scan(collection_of(tmp_path, name, "good.png"), transform, tmp_path)
    (dropped,) = result.dropped
    assert (dropped.path, dropped.reason) == (name, reason)
    assert detail in dropped.detail
    assert result.pictures["path"].tolist() == ["good.png"]
    np.testing.assert_array_equal(result.images, read(transform, noise("x"))[0][None])


def test_the_limit_of_megapixels(tmp_path, transform, noise):
    noise("x").resize((1000, 600)).save(tmp_path / "large.png")
    noise("y").save(tmp_path / "small.png")
    result = scan(collection_of(tmp_path, "large.png", "small.png"), transform, tmp_path, 0.5)
    assert result.pictures["path"].tolist() == ["small.png"]
    assert [each.reason for each in result.dropped] == ["cannot be read"]
    assert result.dropped[0].detail == "the picture is too large: 1 megapixels, and at most 0.5 are read"


def test_nothing_readable_and_nothing_at_all(tmp_path, transform):
    for names in (["missing.png"], []):
        result = scan(collection_of(tmp_path, *names), transform, tmp_path)
        assert (len(result.images), len(result.pictures), len(result.dropped)) == (0, 0, len(names))


def test_nothing_is_left_in_the_folder(tmp_path, transform, noise):
    noise("x").save(tmp_path / "x.png")
    result = scan(collection_of(tmp_path, "x.png"), transform, tmp_path / "prepare")
    assert isinstance(result.images, np.memmap)
    assert list((tmp_path / "prepare").iterdir()) == []


def test_few_pictures_are_decoded_ahead(monkeypatch):
    """However slowly the results are taken, so that memory use does not grow with the collection."""
    monkeypatch.setattr(scan_module, "cores", lambda: 2)
    opened, lock = [], threading.Lock()

    def note(index: int) -> int:
        with lock:
            opened.append(index)
        return index

    results = scan_module._in_order(note, 10_000)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    results.close()
    assert len(opened) <= 6 * scan_module._BATCH


def test_a_fault_of_ours_is_not_taken_for_a_bad_picture(tmp_path, transform, noise, monkeypatch):
    noise("x").save(tmp_path / "x.png")

    def broken(*_):
        raise TypeError("a fault of ours")

    monkeypatch.setattr(Transform, "squared", broken)
    with pytest.raises(TypeError, match="a fault of ours"):
        scan(collection_of(tmp_path, "x.png"), transform, tmp_path)


def test_room_is_needed_twice(tmp_path, transform, monkeypatch):
    usage = store.shutil.disk_usage(tmp_path)._replace(free=2 * 16 * 16 * 3 - 1)
    monkeypatch.setattr(store.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UserError, match="its disk has 0 MiB left"):
        scan(collection_of(tmp_path, "x.png"), transform, tmp_path)
