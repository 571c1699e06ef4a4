"""Your own pictures, named by a table: what it may say, and what is said about the rest."""

from pathlib import Path

import numpy as np
import pytest

from thawline.artifacts import Artifacts
from thawline.config.composition import watch
from thawline.config.errors import UserError
from thawline.config.sections import Config, DataSet, DataSetName, Input, Role, Target
from thawline.data.collection import Collection
from thawline.data.prepare import prepare
from thawline.data.problems import said
from thawline.data.sets import table
from thawline.data.sources import collect as collect_for
from thawline.data.store import open_store
from thawline.models.preprocessing import transform_for


def collect(root: Path) -> Collection:
    return table.collect(DataSet(dataset=DataSetName.table, root=str(root)), 0)


@pytest.fixture
def leaves(tmp_path, write_pictures) -> Path:
    """A folder with the pictures oak/000.png, oak/001.png, ash/000.png and ash/001.png."""
    write_pictures(tmp_path, {"oak": 2, "ash": 2})
    return tmp_path


def write(folder: Path, *rows: str, header: str = "path,label", name: str = "labels.csv") -> Path:
    (folder / name).write_text("\n".join([header, *rows, ""]))
    return folder / name


def test_pictures_are_labelled_as_the_table_says_in_the_order_of_their_paths(leaves, noise):
    collection = collect(write(leaves, "oak/001.png,old", "oak/000.png,young", "ash/000.png,old"))
    assert [(item.path, item.label) for item in collection.items] == [
        ("ash/000.png", "old"),
        ("oak/000.png", "young"),
        ("oak/001.png", "old"),
    ]
    for position, name in enumerate(("ash/0", "oak/0", "oak/1")):
        np.testing.assert_array_equal(np.asarray(collection.open(position)), np.asarray(noise(name)))


def test_groups_and_splits_are_obeyed_where_they_are_given(leaves):
    rows = (
        "oak/000.png,oak,tree 1,TRAIN",
        "oak/001.png,oak,,Valid",
        "ash/000.png,ash,,test",
        "ash/001.png,ash,,",
    )
    items = collect(write(leaves, *rows, header="path,label,group,split")).items
    assert [(item.group, item.split) for item in items] == [
        ("", "test"),
        ("", ""),
        ("tree 1", "train"),
        ("", "val"),
    ]


@pytest.mark.parametrize(
    ("given", "splits"),
    [
        ("train eval test holdout", "train val test test"),
        ("train Eval train train", "train test train train"),
        ("train evaluation val val", "train test val val"),
    ],
)
def test_splits_have_the_names_that_folders_may_have(leaves, given, splits):
    paths = ("ash/000.png", "ash/001.png", "oak/000.png", "oak/001.png")
    rows = (f"{path},{path[:3]},{split}" for path, split in zip(paths, given.split(), strict=True))
    items = collect(write(leaves, *rows, header="path,label,split")).items
    assert [item.split for item in items] == splits.split()


def test_eval_beside_validation_and_test_is_refused(leaves):
    rows = ("oak/000.png,oak,eval", "oak/001.png,oak,val", "ash/000.png,ash,test")
    with pytest.raises(UserError, match=r"split is neither train, val, test nor blank: line 2 \('eval'\)"):
        collect(write(leaves, *rows, header="path,label,split"))


@pytest.mark.parametrize(("one", "other"), [("Tree 1", "tree 1"), ("0", "0.0")])
def test_groups_that_look_like_one_are_an_error_as_such_labels_are(leaves, one, other):
    rows = (f"oak/000.png,oak,{one}", f"oak/001.png,oak,{other}", "ash/000.png,ash,")
    (problem,) = collect(write(leaves, *rows, header="path,label,group")).problems
    assert said(problem) == f"group {one}: many systems cannot tell it from: {other!r}"
    rows = (f"oak/000.png,{one}", f"ash/000.png,{other}")
    (problem,) = collect(write(leaves, *rows)).problems
    assert said(problem) == f"class {one}: many systems cannot tell it from: {other!r}"


def test_groups_that_are_called_like_pictures_may_differ_in_case(leaves):
    (leaves / "oak" / "000.png").rename(leaves / "oak" / "001.PNG")
    rows = ("oak/001.PNG,oak,oak/001.PNG", "oak/001.png,oak,oak/001.png", "ash/000.png,ash,")
    assert collect(write(leaves, *rows, header="path,label,group")).problems == ()


def test_a_column_of_groups_without_a_group_is_said(leaves):
    rows = ("oak/000.png,oak", "ash/000.png,ash")
    said = "the column group of labels.csv is blank in every row: no pictures belong together"
    assert collect(write(leaves, *(f"{row}," for row in rows), header="path,label,group")).notes == (said,)
    assert collect(write(leaves, *rows)).notes == ()


def test_a_folder_with_a_table_in_it_is_a_root_too_and_its_pictures_are_watched(leaves):
    write(leaves, "oak/000.png,oak", "ash/000.png,ash")
    assert collect(leaves).items == collect(leaves / "labels.csv").items
    assert watch(str(leaves), False) == str(leaves)
    assert watch(str(leaves / "labels.csv"), False) == str(leaves / "labels.csv")


def test_paths_lead_from_the_tables_folder_or_from_the_root_of_the_file_system(leaves, tmp_path_factory):
    away = tmp_path_factory.mktemp("away")
    rows = (f"{leaves}/oak/000.png,oak", f"{leaves}/ash/../ash/000.png,ash")
    write(leaves, *rows)
    for root in (leaves, leaves / "oak" / ".." / "labels.csv"):
        assert [item.path for item in collect(root).items] == ["ash/000.png", "oak/000.png"]
    assert [item.path for item in collect(write(away, *rows)).items] == [
        f"{leaves}/ash/000.png",
        f"{leaves}/oak/000.png",
    ]


def test_folders_may_be_separated_as_on_other_systems_where_no_file_is_called_so(leaves):
    (leaves / "oak" / "000.png").rename(leaves / "oak\\000.png")
    rows = ("oak\\000.png,oak", "oak\\001.png,oak", "ash\\000.png,ash")
    found = collect(write(leaves, *rows))
    assert [item.path for item in found.items] == ["ash/000.png", "oak/001.png", "oak\\000.png"]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_what_spreadsheets_write_is_read(leaves, separator, encoding):
    rows = (" Label |PATH", '"höhe, ""alt"""| oak/000.png', "", "NA|ash/000.png", "")
    text = "\r\n".join(rows).replace("|", separator)
    (leaves / "labels.csv").write_bytes(text.encode(encoding))
    assert [item.label for item in collect(leaves).items] == ["NA", 'höhe, "alt"']


def test_a_row_that_is_there_twice_counts_once(leaves):
    collection = collect(write(leaves, "oak/000.png,oak", "ash/000.png,ash", "./oak//000.png,oak"))
    assert len(collection.items) == 2
    assert collection.notes == ("1 rows of labels.csv repeat an earlier one",)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["oak/7.png,oak", "oak/8.png,oak"], r"no such file: line 4 \(oak/7\.png\), line 5 \(oak/8\.png\)\n"),
        ([f"{number}.png,oak" for number in range(9)], r"line 8 \(4\.png\) and 4 more"),
        (["oak/1.png,elm"], "a label without a picture: elm"),
        (["oak,oak"], r"no such file: line 4 \(oak\)"),
        ([",elm"], r"no path: line 4 \(label 'elm'\)\n  - a label without a picture: elm"),
        (["oak/001.png, "], r"no label: line 4 \(oak/001\.png\)"),
        (
            ["ash/../oak/000.png,ash"],
            r"one picture has several values of label: oak/000\.png \('oak' in line 2, 'ash' in line 4\)",
        ),
    ],
)
def test_a_table_that_cannot_be_obeyed_is_explained(leaves, rows, message):
    with pytest.raises(
        UserError, match=rf"labels\.csv cannot be used:(?s:.*){message}(?s:.*)Correct the table"
    ):
        collect(write(leaves, "oak/000.png,oak", "ash/000.png,ash", *rows))


def test_all_that_is_wrong_is_said_at_once(leaves):
    rows = ("oak/000.png,oak,1,tset", "oak/000.png,oak,2,train", "gone.png,elm,,", "ash/000.png,,,")
    with pytest.raises(UserError) as caught:
        collect(write(leaves, *rows, header="path,label,group,split"))
    assert str(caught.value).splitlines()[1:-1] == [
        "  - no label: line 5 (ash/000.png)",
        "  - split is neither train, val, test nor blank: line 2 ('tset')",
        "  - no such file: line 4 (gone.png)",
        "  - a label without a picture: elm",
        "  - one picture has several values of group: oak/000.png ('1' in line 2, '2' in line 3)",
        "  - one picture has several values of split: oak/000.png ('tset' in line 2, 'train' in line 3)",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"path,class\n",
            r"wrong columns \(missing: label; unknown: class\)\.\n  Needed: path, label\. Allowed: gr",
        ),
        (b"path,label,label\n", "given twice: label"),
        (b"path,label,\na,b,\n", r"unknown: \(no name\)"),
        (b"", "missing: path, label"),
        (b"path,label\n", "it has no rows below its header"),
        (b"path,label\na.png\n", "line 2 does not have 2 fields"),
        (b"path,label\na,b.png,oak\n", "line 2 does not have 2 fields"),
        (b'path,label\n"a.png,oak\n', "cannot be read: unexpected end of data"),
        ("path,label\nä.png,oak\n".encode("latin-1"), r"is not UTF-8\.\n  Save it as: CSV UTF-8"),
    ],
)
def test_a_file_that_is_no_such_table_is_explained(tmp_path, content, message):
    (tmp_path / "labels.csv").write_bytes(content)
    with pytest.raises(UserError, match=message):
        collect(tmp_path)


def test_a_missing_table(tmp_path):
    with pytest.raises(UserError, match=r"labels\.csv does not exist\.\n  Set root to a \.csv file"):
        collect(tmp_path)
    with pytest.raises(UserError, match=r"x\.csv does not exist"):
        collect(tmp_path / "x.csv")


def test_a_source_uses_no_test_rows(leaves):
    write(leaves, "oak/000.png,oak,", "ash/000.png,ash,test", header="path,label,split")
    data = DataSet(dataset=DataSetName.table, root=str(leaves))
    assert [item.path for item in collect_for(data, Role.source, 0).items] == ["oak/000.png"]


def test_what_is_given_stays_and_the_rest_is_split(tmp_path, write_pictures):
    write_pictures(tmp_path, {"oak": 12, "ash": 12})
    given = {f"{name}/{index:03d}.png": "train" for name in ("oak", "ash") for index in range(3)}
    given |= {"oak/003.png": "val", "ash/003.png": "val"}
    rows = (
        f"{name}/{index:03d}.png,{name},{given.get(f'{name}/{index:03d}.png', '')}"
        for name in ("oak", "ash")
        for index in range(12)
    )
    root = write(tmp_path, *rows, header="path,label,split")
    target = Target(dataset=DataSetName.table, root=str(root), test_fraction=0.5)
    config, artifacts = Config(target=target, input=Input(size=16)), Artifacts.under(tmp_path / "out")
    prepare(config, transform_for, artifacts)
    target, test = (open_store(artifacts.data_output(name)).manifest for name in ("target", "test"))
    found = dict(zip(target["path"], target["split"], strict=True))
    assert {path: found[path] for path in given} == given
    assert (len(target), len(test)) == (12, 12)
