"""Your own pictures: which layouts are understood, and what is said about the rest."""

import os
import tarfile
import unicodedata
from pathlib import Path

import pytest

from thawline.config.choices import Groups, Layout
from thawline.config.errors import UserError
from thawline.config.sections import DataSetName, Target
from thawline.data.collection import Collection
from thawline.data.picture_files import RAW
from thawline.data.problems import Severity, said
from thawline.data.sets import image_folder

FOLDERS = (Layout.class_folders, Layout.innermost_folders)


def collect(root: Path, **fields: object) -> Collection:
    return image_folder.collect(Target(dataset=DataSetName.image_folder, root=str(root), **fields), 0)


def errors(collection: Collection) -> list[str]:
    return [said(problem) for problem in collection.problems if problem.severity is Severity.error]


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
    assert list(found(touch(tmp_path, *names, "b/1.jpg"))) == [*names, "b/1.jpg"]


@pytest.mark.parametrize("layout", ["a/1.jpg b/2.jpg", "train/a/1.jpg train/b/2.jpg test/a/3.jpg"])
@pytest.mark.parametrize("outer", ["set/", "outer/inner/"])
def test_the_only_folder_is_entered(tmp_path, layout, outer):
    inside = found(touch(tmp_path / "bare", *layout.split()))
    assert found(touch(tmp_path / "nested", *(outer + name for name in layout.split()))) == inside


def test_a_folder_with_files_of_other_kinds_beside_it_is_entered(tmp_path):
    names = ["Data/CLS/train/a/1.jpg", "Data/CLS/train/b/2.jpg", "Annotations/a/1.xml", "ImageSets/all.txt"]
    assert list(found(touch(tmp_path, *names))) == ["train/a/1.jpg", "train/b/2.jpg"]


def test_pictures_of_one_class_alone_are_refused_with_what_was_seen(tmp_path):
    with pytest.raises(
        UserError, match=r"do not name two classes(?s:.*)cats/: 2 pictures(?s:.*)Expected: one"
    ):
        collect(touch(tmp_path, "cats/1.jpg", "cats/2.jpg", "labels.csv"))


@pytest.mark.parametrize("other", ["dogs/", "dogs/1.dng"])
def test_a_folder_beside_one_that_was_to_be_a_class_is_not_entered(tmp_path, other):
    touch(tmp_path, "cats/siamese/1.jpg", "cats/persian/2.jpg")
    (tmp_path / "dogs").mkdir()
    if not other.endswith("/"):
        touch(tmp_path, other)
    with pytest.raises(UserError, match=r"could mean several things(?s:.*)cats/: 2 pictures"):
        collect(tmp_path)


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
    touch(tmp_path / "leaves", "a/1.jpg", "b/1.jpg")
    assert list(found(Path("~/leaves"))) == ["a/1.jpg", "b/1.jpg"]


def test_other_files_are_counted(tmp_path):
    collection = collect(touch(tmp_path, "a/1.jpg", "a/2.nef", "b/3.jpg", "README"))
    assert collection.notes == ("files that are not pictures, passed over: 1 with no extension, 1 with .nef",)


def test_pictures_that_are_not_read_are_lost_to_their_class(tmp_path):
    names = [
        "set/train/a/1.jpg",
        "set/train/a/2.nef",
        "set/train/b/3.dng",
        "set/train/b/4.DNG",
        "set/notes/5.txt",
    ]
    losses = collect(touch(tmp_path, *names)).losses
    assert losses.said("a") == "of a kind that is not read, .nef (1)"
    assert losses.said("b") == "of a kind that is not read, .dng (2)"


def test_a_class_of_nothing_but_raw_files_is_not_passed_over(tmp_path):
    touch(tmp_path, "a/1.jpg", "b/1.jpg")
    for end in RAW:
        (tmp_path / f"c{end}").mkdir()
        (tmp_path / f"c{end}" / f"1{end.upper()}").write_bytes(b"II*\0" + bytes(60))
    losses = collect(tmp_path).losses
    for end in RAW:
        assert losses.said(f"c{end}") == f"of a kind that is not read, {end} (1)"


def test_raw_files_above_the_classes_are_lost_to_none(tmp_path):
    losses = collect(touch(tmp_path, "set/classes/a/1.jpg", "set/classes/b/1.jpg", "set/loose.nef")).losses
    assert losses.of_class == {}


def archive_with_links(root: Path, *links: str) -> Path:
    """A tar with a whole picture in each of two classes, and links that are called so."""
    with tarfile.open(root / "set.tar", "w") as archive:
        for name in ("set/a/1.png", "set/b/1.png"):
            archive.addfile(tarfile.TarInfo(name))
        for name in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.LNKTYPE, "set/a/1.png"
            archive.addfile(info)
    return root / "set.tar"


def test_what_is_refused_in_an_archive_is_lost_to_its_class(tmp_path):
    links = ("set/b/2.png", "./set/b/3.PNG", "set/c/1.png", "set/c/2.nef", "set/d/1.txt", "set/../e/1.png")
    losses = collect(archive_with_links(tmp_path, *links)).losses
    assert losses.of_class.keys() == {"b", "c"}
    for label in "bc":
        assert losses.said(label) == "a member of the archive that is no plain file (2)"


def test_pipes_and_doubles_in_a_folder_are_lost_to_their_class(tmp_path):
    touch(tmp_path, "a/1.png", *(f"b/{unicodedata.normalize(form, 'é.png')}" for form in ("NFC", "NFD")))
    (tmp_path / "c").mkdir()
    os.mkfifo(tmp_path / "c" / "1.png")
    losses = collect(tmp_path).losses
    assert losses.said("b") == "a second file with the same name, in another Unicode form (1)"
    assert losses.said("c") == "no plain file (1)"


def test_a_class_folder_without_a_picture_is_a_class_that_was_lost(tmp_path):
    touch(tmp_path, "train/a/1.jpg", "test/a/1.jpg", "train/texts/1.txt")
    (tmp_path / "train" / "b").mkdir()
    (tmp_path / "train" / "a" / "more").mkdir()
    assert collect(tmp_path).losses.of_class == {"b": {}}


@pytest.mark.parametrize(
    ("names", "loose"),
    [
        (["a/1.jpg", "b/3.jpg", "2.jpg"], "2.jpg"),
        (["train/a/1.jpg", "train/b/3.jpg", "train/2.jpg"], "train/2.jpg"),
        (["train/a/1.jpg", "train/b/3.jpg", "test/2.jpg"], "test/2.jpg"),
    ],
)
def test_pictures_outside_the_layout_are_dropped(tmp_path, names, loose):
    dropped = collect(touch(tmp_path, *names)).dropped
    assert [(picture.path, picture.reason) for picture in dropped] == [(loose, "not in a class folder")]


def test_where_every_member_is_refused_that_is_said(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name in ("/abs/ant/0.png", "../ant/1.png"):
            archive.addfile(tarfile.TarInfo(name))
    with pytest.raises(UserError, match=r"no pictures .*\n  Left out: /abs/ant/0\.png \(.* unsafe name\), "):
        collect(tmp_path / "x.tar")


def test_no_pictures(tmp_path):
    with pytest.raises(UserError, match=r"no pictures \(\.jpg.*\n.*Expected: one folder per class"):
        collect(touch(tmp_path, "a/1.mp4"))


def test_no_class_folders(tmp_path):
    with pytest.raises(
        UserError, match=r"do not name two classes(?s:.*)directly here: 2 (?s:.*)Expected: one"
    ):
        collect(touch(tmp_path, "1.jpg", "2.jpg"))


@pytest.mark.parametrize(("one", "other"), [("Cat", "cat"), ("a b", "a  b"), ("cat", "cat ")])
def test_classes_that_hardly_differ(tmp_path, one, other):
    (error,) = errors(collect(touch(tmp_path, f"{one}/1.jpg", f"{other}/2.jpg")))
    assert "many systems cannot tell it from" in error


def test_names_that_are_not_utf_8(tmp_path):
    touch(tmp_path, "a/1.jpg", "b\udcff/2.jpg")
    assert list(found(tmp_path)) == ["a/1.jpg", "b\\xff/2.jpg"]


def test_groups(tmp_path):
    touch(tmp_path, "set/a/1.jpg", "set/a/2.jpg", "set/b/3.jpg", "set/b/4.jpg")
    rows = "\ufeffgroup,path\nleaf 1,a/1.jpg\nleaf 1,b/3.jpg\nNA,a/2.jpg\nx,gone.jpg\n"
    (tmp_path / "set" / "groups.csv").write_text(rows)
    collection = collect(tmp_path, groups=Groups.partial)
    assert [item.group for item in collection.items] == ["leaf 1", "NA", "leaf 1", ""]
    assert errors(collection) == []
    assert errors(collect(tmp_path)) == [
        "groups.csv: 1 row names no picture: gone.jpg",
        "groups.csv: no row for 1 of the pictures: b/4.jpg",
    ]


@pytest.mark.parametrize(
    ("place", "above"),
    [
        *(
            ("groups.csv", above)
            for above in ("", "set/", "{root}/set/", "{root.name}/set/", "C:/photos/set/")
        ),
        *(("set/groups.csv", ""), ("set/Groups.CSV", "set/")),
    ],
)
def test_groups_may_lie_beside_the_pictures_or_above_and_name_them_from_there(tmp_path, place, above):
    touch(tmp_path, "set/a/1.jpg", "set/b/2.jpg")
    rows = "".join(f"{above.format(root=tmp_path)}{name},x\n" for name in ("a/1.jpg", "b/2.jpg"))
    (tmp_path / place).write_text(f"path,group\n{rows}")
    assert errors(collect(tmp_path)) == []
    assert [item.group for item in collect(tmp_path).items] == ["x", "x"]


@pytest.mark.parametrize(
    ("place", "above"), [("groups.csv", "outer/set/"), ("outer/groups.csv", "set/"), ("outer/Groups.csv", "")]
)
def test_groups_that_lie_far_above_name_pictures_from_their_own_folder(tmp_path, place, above):
    touch(tmp_path, "outer/set/a/1.jpg", "outer/set/b/2.jpg")
    (tmp_path / place).write_text(f"path,group\n{above}a/1.jpg,x\n{above}b/2.jpg,x\n")
    collection = collect(tmp_path)
    assert errors(collection) == []
    assert [item.group for item in collection.items] == ["x", "x"]


@pytest.mark.parametrize("place", ["a/groups.csv", "texts/groups.csv"])
def test_groups_in_another_folder_are_not_passed_over_in_silence(tmp_path, place):
    touch(tmp_path, "a/1.jpg", "b/2.jpg", place)
    assert errors(collect(tmp_path)) == [f"{place}: is not read: only one groups.csv, above all pictures, is"]
    assert errors(collect(tmp_path, groups=Groups.partial)) == []


@pytest.mark.parametrize("place", ["group.csv", "set/groups (1).csv", "set/groups.txt", "set/Group_copy.CSV"])
def test_a_file_that_is_nearly_called_groups_csv_is_not_passed_over_in_silence(tmp_path, place):
    touch(tmp_path, "set/a/1.jpg", "set/b/2.jpg", place)
    (problem,) = collect(tmp_path, groups=Groups.partial).problems
    assert said(problem) == f"{place}: is not read, but is nearly called groups.csv"
    assert problem.severity is Severity.error
    assert problem.way_out == "rename it to groups.csv, or remove it."


@pytest.mark.parametrize("above", ["", "set/"])
def test_such_a_file_beside_pictures_whose_names_are_their_classes_is_not_passed_over(tmp_path, above):
    touch(tmp_path, *(f"{above}{name}" for name in ("cat.1.jpg", "cat.2.jpg", "dog.1.jpg", "group.csv")))
    found = collect(tmp_path, layout=Layout.file_names).problems
    assert [said(problem) for problem in found] == [
        f"{above}group.csv: is not read, but is nearly called groups.csv"
    ]


def test_such_a_file_in_a_split_is_not_passed_over_either(tmp_path):
    touch(tmp_path, "train/a/1.jpg", "train/b/2.jpg", "test/a/1.jpg", "test/b/2.jpg", "train/group.csv")
    (problem,) = collect(tmp_path).problems
    assert said(problem) == "train/group.csv: is not read, but is nearly called groups.csv"


@pytest.mark.parametrize("place", ["set/a/groups.txt", "groups.py", "grouping.csv", "set/age groups.csv"])
def test_a_file_that_is_called_otherwise_or_lies_in_a_class_is_passed_over(tmp_path, place):
    assert collect(touch(tmp_path, "set/a/1.jpg", "set/b/2.jpg", place)).problems == ()


def test_a_layout_that_is_asked_for_is_obeyed(tmp_path):
    touch(tmp_path, "fold_0/a/1.jpg", "fold_0/b/2.jpg", "fold_1/a/3.jpg")
    with pytest.raises(UserError, match="could mean several things"):
        collect(tmp_path)
    labels = {layout: [item.label for item in collect(tmp_path, layout=layout).items] for layout in FOLDERS}
    assert labels == {
        Layout.class_folders: ["fold_0", "fold_0", "fold_1"],
        Layout.innermost_folders: ["a", "b", "a"],
    }


def test_a_layout_that_cannot_be_obeyed_is_refused_with_those_that_can(tmp_path):
    touch(tmp_path, "a/1.jpg", "b/2.jpg")
    with pytest.raises(
        UserError,
        match=r"split_folders finds no pictures of two classes(?s:.*)-S target\.layout=class_folders",
    ):
        collect(tmp_path, layout=Layout.split_folders)
