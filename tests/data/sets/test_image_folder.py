"""Your own pictures: which layouts are understood, and what is said about the rest."""

import tarfile
import unicodedata
from pathlib import Path

import pytest

from thawline.config.errors import UserError
from thawline.config.sections import DataSet, DataSetName
from thawline.data.collection import Collection
from thawline.data.sets import image_folder


def collect(root: Path) -> Collection:
    return image_folder.collect(DataSet(dataset=DataSetName.image_folder, root=str(root)), 0)


def found(root: Path) -> dict[str, tuple[str, str]]:
    return {item.path: (item.label, item.split) for item in collect(root).items}


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_one_folder_per_class(tmp_path):
    touch(tmp_path, "dog/1.jpg", "cat/2.png", "cat/deep/er/3.tif")
    assert found(tmp_path) == {
        "cat/2.png": ("cat", ""),
        "cat/deep/er/3.tif": ("cat", ""),
        "dog/1.jpg": ("dog", ""),
    }


def test_split_folders_of_class_folders(tmp_path):
    touch(tmp_path, "train/cat/1.jpg", "Valid/cat/2.jpg", "test/dog/3.jpg")
    assert found(tmp_path) == {
        "Valid/cat/2.jpg": ("cat", "val"),
        "test/dog/3.jpg": ("dog", "test"),
        "train/cat/1.jpg": ("cat", "train"),
    }


def test_a_class_may_be_called_train(tmp_path):
    assert found(touch(tmp_path, "train/1.jpg", "plane/2.jpg"))["train/1.jpg"] == ("train", "")


def test_every_extension_in_any_case(tmp_path):
    names = [
        f"a/{index}{end}"
        for index, end in enumerate([".jpg", ".JPEG", ".Png", ".webp", ".bmp", ".TIF", ".tiff"])
    ]
    assert list(found(touch(tmp_path, *names))) == names


@pytest.mark.parametrize("layout", ["a/1.jpg b/2.jpg", "train/a/1.jpg train/b/2.jpg test/a/3.jpg"])
@pytest.mark.parametrize("outer", ["set/", "outer/inner/"])
def test_the_only_folder_is_entered(tmp_path, layout, outer):
    inside = found(touch(tmp_path / "bare", *layout.split()))
    assert found(touch(tmp_path / "nested", *(outer + name for name in layout.split()))) == inside


def test_the_only_class_is_not_entered(tmp_path):
    assert found(touch(tmp_path, "cats/1.jpg", "cats/more/2.jpg"))["cats/more/2.jpg"] == ("cats", "")


def test_archives_are_opened_where_they_are(tmp_path, write_pictures):
    write_pictures(tmp_path / "set", {"train/a": 2, "train/b": 2, "test/a": 1})
    with tarfile.open(tmp_path / "set.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "set", "set")
    collection = collect(tmp_path / "set.tar.gz")
    assert found(tmp_path / "set.tar.gz") == found(tmp_path / "set")
    for position in range(5):
        expected = collect(tmp_path / "set").open(position)
        assert collection.open(position).tobytes() == expected.tobytes()


def test_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    touch(tmp_path / "leaves", "a/1.jpg")
    assert list(found(Path("~/leaves"))) == ["a/1.jpg"]


def test_other_files_are_counted(tmp_path):
    notes = collect(touch(tmp_path, "a/1.jpg", "a/2.mp4", "b/3.mp4", "README")).notes
    assert notes == (
        "files that are not pictures, passed over: 2 with .mp4, 1 with no extension",
        "class folders without a picture: b",
    )


def test_empty_class_folders_are_said(tmp_path):
    touch(tmp_path, "train/a/1.jpg", "test/a/1.jpg")
    (tmp_path / "train" / "b").mkdir()
    assert collect(tmp_path).notes == ("class folders without a picture: train/b",)


@pytest.mark.parametrize(
    ("names", "loose"),
    [
        (["a/1.jpg", "2.jpg"], "2.jpg"),
        (["train/a/1.jpg", "train/2.jpg"], "train/2.jpg"),
        (["train/a/1.jpg", "more/a/2.jpg"], "more/a/2.jpg"),
    ],
)
def test_pictures_outside_the_layout_are_dropped(tmp_path, names, loose):
    dropped = collect(touch(tmp_path, *names)).dropped
    assert [(picture.path, picture.reason) for picture in dropped] == [(loose, "not in a class folder")]


def test_no_pictures(tmp_path):
    with pytest.raises(UserError, match=r"no pictures \(\.jpg.*\n.*Expected: one folder per class"):
        collect(touch(tmp_path, "a/1.mp4"))


def test_no_class_folders(tmp_path):
    with pytest.raises(UserError, match="are not in class folders"):
        collect(touch(tmp_path, "1.jpg", "2.jpg"))


@pytest.mark.parametrize(("one", "other"), [("Cat", "cat"), ("a b", "a  b"), ("cat", "cat ")])
def test_classes_that_hardly_differ(tmp_path, one, other):
    with pytest.raises(UserError, match="which many systems cannot tell apart"):
        collect(touch(tmp_path, f"{one}/1.jpg", f"{other}/2.jpg"))


def test_both_unicode_forms_are_one_class(tmp_path):
    names = [
        f"train/{unicodedata.normalize('NFC', 'café')}/1.jpg",
        f"test/{unicodedata.normalize('NFD', 'café')}/2.jpg",
    ]
    assert {label for label, _ in found(touch(tmp_path, *names)).values()} == {"café"}


def test_names_that_are_not_utf_8(tmp_path):
    touch(tmp_path, "a/1.jpg", "b\udcff/2.jpg")
    assert list(found(tmp_path)) == ["a/1.jpg", "b\\xff/2.jpg"]


def test_groups(tmp_path):
    touch(tmp_path, "a/1.jpg", "a/2.jpg", "b/3.jpg", "b/4.jpg")
    (tmp_path / "groups.csv").write_text(
        "\ufeffgroup,path\nleaf 1,a/1.jpg\nleaf 1,b/3.jpg\nNA,a/2.jpg\nx,gone.jpg\n"
    )
    collection = collect(tmp_path)
    assert [item.group for item in collection.items] == ["leaf 1", "NA", "leaf 1", ""]
    assert collection.notes == (
        "groups.csv names 1 pictures that are not there",
        "groups.csv does not name 1 pictures; each is its own group",
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("path;group\na/1.jpg;x\n", "needs the columns path and group, has: path;group"),
        ("path,group\na/1.jpg,x\na/1.jpg,y\n", r"puts a/1\.jpg into two groups"),
        ("", "cannot be read: No columns"),
        ('path,group\n"a/1.jpg,x\n', "cannot be read"),
    ],
)
def test_groups_that_make_no_sense(tmp_path, content, message):
    touch(tmp_path, "a/1.jpg")
    (tmp_path / "groups.csv").write_text(content)
    with pytest.raises(UserError, match=message):
        collect(tmp_path)
