"""Pictures without a label get one from voters; what is measured has labels of its own where any have."""

from pathlib import Path

import numpy as np
import pytest
from tests_deep_files import tiff

from thawline.artifacts import VOTES, Artifacts, read_json
from thawline.config.errors import UserError
from thawline.config.sections import Config, DataSetName, Input, Role, Target
from thawline.data.prepare import prepare
from thawline.data.store import open_store
from thawline.data.votes import collected, read_votes
from thawline.evaluation.summary import describe
from thawline.models.preprocessing import transform_for


def run(folder: Path, dataset: str = "image_folder", **fields) -> Artifacts:
    """Prepare the pictures in `fields["root"]` below `folder`."""
    target = Target(dataset=DataSetName[dataset], **fields)
    prepare(Config(target=target, input=Input(size=16)), transform_for, Artifacts.under(folder))
    return Artifacts.under(folder)


def card(artifacts: Artifacts, name: str) -> dict:
    return read_json(artifacts.data_output(name) / "card.json")


LABELLED = {"cat": 12, "dog": 12}


@pytest.fixture
def pictures(tmp_path, write_pictures) -> Path:
    """12 labelled pictures of each of two classes, and 10 beside the folders that have no label."""
    root = tmp_path / "set"
    write_pictures(root, LABELLED)
    write_pictures(root / "new", {"": 10})
    for path in (root / "new").iterdir():
        path.rename(root / path.name)
    (root / "new").rmdir()
    return root


def vote(root: Path, lines: list[str], header: str = "path,ann,bob,cy") -> str:
    (root.parent / "votes.csv").write_text("\n".join([header, *lines]) + "\n")
    return str(root.parent / "votes.csv")


UNLABELLED = [
    *(f"{each:03}.png,cat,cat,dog" for each in range(4)),
    *(f"./{each:03}.PNG,dog,dog," for each in range(4, 9)),
]


def test_voted_pictures_train_and_labelled_ones_measure(tmp_path, pictures):
    votes = vote(pictures, [*UNLABELLED, "cat/001.png,cat,cat,dog"])
    artifacts = run(tmp_path, root=str(pictures), votes=votes)
    target, test = (open_store(artifacts.data_output(name)) for name in ("target", "test"))
    labels = target.manifest.set_index("path")["label"]
    assert [labels[f"{each:03}.png"] for each in range(9)] == ["cat"] * 4 + ["dog"] * 5
    voted = ~target.manifest["path"].str.contains("/")
    assert set(target.manifest["split"][voted]) == {"voted"}
    assert len(target.teaching()) == len(target.part("train")) + voted.sum()
    assert set(target.own().manifest["path"]) == set(target.manifest["path"][~voted])
    assert describe(target, test)["sizes"]["train"]["total"] == len(target.teaching())
    assert test.manifest["path"].str.contains("/").all()
    # as many as without them: a quarter of 12 of each class
    assert len(test) == 6
    assert (target.manifest["split"] == "val").sum() >= 2
    found = read_votes(artifacts.data_output("target"), target.classes)
    assert found.voters == ("ann", "bob", "cy")
    np.testing.assert_array_equal(found.known, ~voted)
    row = list(target.manifest["path"]).index("004.png")
    assert found.said[row].tolist() == [1, 1, -1]
    assert not (artifacts.data_output("test") / VOTES).exists()
    assert card(artifacts, "target")["dropped"] == [
        {"path": "009.png", "reason": "no label and no vote", "detail": ""}
    ]


def test_where_nothing_has_a_label_voters_make_them_all_and_that_is_said(tmp_path, write_pictures):
    root = tmp_path / "all"
    write_pictures(root, {"": 24})
    lines = [f"{each:03}.png,{name},{name},{name}" for each in range(24) for name in [("a", "b")[each % 2]]]
    artifacts = run(tmp_path, root=str(root), votes=vote(root, lines))
    assert len(open_store(artifacts.data_output("test"))) == 6
    assert any("accuracy is agreement with them" in note for note in card(artifacts, "target")["notes"])


def test_a_table_may_leave_labels_to_voters(tmp_path, write_pictures):
    root = tmp_path / "set"
    write_pictures(root, {"p": 24})
    rows = [f"p/{each:03}.png,{('a', 'b', '')[each % 3]}" for each in range(24)]
    (root / "labels.csv").write_text("\n".join(["path,label", *rows]))
    votes = vote(root, [f"p/{each:03}.png,a,a,b" for each in range(2, 24, 3)])
    artifacts = run(tmp_path, dataset="table", root=str(root), votes=votes)
    labels = open_store(artifacts.data_output("target")).manifest.set_index("path")["label"]
    assert {labels[f"p/{each:03}.png"] for each in range(2, 24, 3)} == {"a"}
    with pytest.raises(UserError, match="no label: line 4"):
        run(tmp_path, dataset="table", root=str(root))


WRONG = [
    ("nowhere.png,cat,,", "votes for pictures that are not there: nowhere.png"),
    ("009.png,bird,,", r"voter ann +labels that are no classes: 'bird' \(009.png\)"),
    ("000.png,cat,,", "several rows of one picture: 000.png"),
]


def test_votes_that_cannot_be_meant_are_named_and_nothing_is_lost(tmp_path, pictures):
    before = run(tmp_path, root=str(pictures)).data_output("target")
    content = {path.name: path.read_bytes() for path in before.iterdir()}
    for line, said in WRONG:
        with pytest.raises(UserError, match=said):
            run(tmp_path, root=str(pictures), votes=vote(pictures, [line, *UNLABELLED]))
    assert {path.name: path.read_bytes() for path in before.iterdir()} == content


def test_a_votes_file_without_a_path_column_or_voters_is_refused(tmp_path, pictures):
    with pytest.raises(UserError, match=r"votes\.csv +has the wrong columns \(missing: path\)"):
        run(tmp_path, root=str(pictures), votes=vote(pictures, ["000.png,cat"], header="file,ann"))
    with pytest.raises(UserError, match="add a column for each voter"):
        run(tmp_path, root=str(pictures), votes=vote(pictures, ["000.png"], header="path"))
    with pytest.raises(UserError, match="cannot be read"):
        run(tmp_path, root=str(pictures), votes=str(tmp_path / "none.csv"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read (No such file or directory)"),
        (b"path,ann\n000.png,h\xf6he\n", "is not UTF-8"),
        (b"file,ann\n000.png,a\n", "has the wrong columns (missing: path)"),
        (b"path,ann,ann\n000.png,a,a\n", "given twice: ann"),
        (b"path,ann\nelsewhere/7.png,a\n", "votes for pictures that are not there: elsewhere/7.png"),
        (b"path,ann\n000.png,\n", "none of the 4 pictures in "),
        (b"path,ann\n000.png,\n", "000.png: no label and no vote"),
    ],
)
def test_a_mistake_in_the_votes_is_said_where_no_picture_has_a_label(tmp_path, write_pictures, content, said):
    write_pictures(tmp_path / "set", {"": 4})
    if content is not None:
        (tmp_path / "votes.csv").write_bytes(content)
    with pytest.raises(UserError) as error:
        run(tmp_path, root=str(tmp_path / "set"), votes=str(tmp_path / "votes.csv"))
    assert said in str(error.value)
    assert "none of the 0" not in str(error.value)


def test_a_column_without_a_name_is_no_voter(tmp_path, pictures):
    """It is how data frames write the numbers of their rows."""
    votes = vote(pictures, ["0,000.png,cat", "1,001.png,dog"], header=",path,ann")
    with pytest.raises(UserError, match=r"votes\.csv +has the wrong columns \(unknown: \(no name\)\)"):
        run(tmp_path, root=str(pictures), votes=votes)


@pytest.mark.parametrize(("one", "other"), [("ANT", "ant"), ("1", "1.0")])
def test_voted_classes_that_look_like_one_are_an_error_as_such_labels_are(
    tmp_path, write_pictures, one, other
):
    root = tmp_path / "set"
    write_pictures(root, {"": 12})
    lines = [f"{each:03}.png,{('bee', one, other)[each % 3]}" for each in range(12)]
    with pytest.raises(UserError, match=f"class {one} +many systems cannot tell it from: '{other}'"):
        run(tmp_path, root=str(root), votes=vote(root, lines, header="path,ann"))


FUNCTIONS = """
from collections import Counter

def wide(picture):
    return "cat" if picture.width > picture.height else None

def bright(picture):
    return {answer}

def _helper(picture):
    raise RuntimeError
"""


def label(tmp_path: Path, answer: str) -> str:
    (tmp_path / "rules.py").write_text(FUNCTIONS.format(answer=answer))
    return str(tmp_path / "rules.py")


def test_labelling_functions_are_voters(tmp_path, pictures):
    rules = label(tmp_path, "'cat' if picture.getpixel((0, 0))[0] > 250 else None")
    artifacts = run(tmp_path, root=str(pictures), labelling=rules, votes=vote(pictures, UNLABELLED))
    found = read_votes(artifacts.data_output("target"), ("cat", "dog"))
    assert found.voters == ("ann", "bob", "cy", "wide()", "bright()")
    assert (found.said[:, 3] == 0).all()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("1 / 0", r"labelling function bright of .*rules\.py, line 8, fails on 000\.png: ZeroDivisionError"),
        ("7", r"labelling function bright of .*rules\.py returns 7 for 000\.png"),
        ("'bird'", r"voter bright\(\) +labels that are no classes: 'bird'"),
    ],
)
def test_a_labelling_function_that_fails_is_named_with_its_picture(tmp_path, pictures, answer, said):
    with pytest.raises(UserError, match=said):
        run(tmp_path, root=str(pictures), labelling=label(tmp_path, answer))


def test_what_a_damaged_picture_makes_of_a_decoder_costs_that_picture_alone(tmp_path, pictures):
    # it says that it has billions of pixels, of which Pillow raises an error of its own kind
    broken = tiff(np.zeros((8, 8, 3), np.uint8), 2, tags={256: (60000,), 257: (60000,)})
    (pictures / "cat" / "broken.tif").write_bytes(broken)
    artifacts = run(tmp_path, root=str(pictures), labelling=label(tmp_path, "None"))
    assert [each["path"] for each in card(artifacts, "target")["dropped"]] == ["cat/broken.tif"]


def test_what_is_no_module_of_functions_is_refused(tmp_path, pictures):
    with pytest.raises(UserError, match="cannot be imported: FileNotFoundError"):
        run(tmp_path, root=str(pictures), labelling=str(tmp_path / "none.py"))
    with pytest.raises(UserError, match="cannot be imported: ModuleNotFoundError"):
        run(tmp_path, root=str(pictures), labelling="no.such.module")
    (tmp_path / "empty.py").write_text("x = 1\n")
    with pytest.raises(UserError, match="defines no function"):
        run(tmp_path, root=str(pictures), labelling=str(tmp_path / "empty.py"))


def test_voted_pictures_train_where_every_labelled_one_has_a_split(tmp_path, write_pictures):
    root = tmp_path / "set"
    write_pictures(root, {"p": 36})
    rows = [
        f"p/{each:03}.png,{('a', 'b', '')[each % 3]},{'' if each % 3 == 2 else 'train'}" for each in range(36)
    ]
    (root / "labels.csv").write_text("\n".join(["path,label,split", *rows]))
    votes = vote(root, [f"p/{each:03}.png,a,a,b" for each in range(2, 36, 3)])
    artifacts = run(tmp_path, dataset="table", root=str(root), votes=votes)
    target, test = (open_store(artifacts.data_output(name)).manifest for name in ("target", "test"))
    voted = {f"p/{each:03}.png" for each in range(2, 36, 3)}
    assert len(test) == 6
    assert not voted & {*test["path"], *target["path"][target["split"] == "val"]}


def test_labels_of_labelled_pictures_decide_nothing_that_is_voted_for(pictures):
    """Of two voters who differ, labels would say who is right; they may be those of test pictures."""
    found = []
    for right in ("ann", "bob"):
        lines = [f"{each:03}.png,cat,dog" for each in range(10)]
        for label in LABELLED:
            wrong = "dog" if label == "cat" else "cat"
            said = f"{label},{wrong}" if right == "ann" else f"{wrong},{label}"
            lines += [f"{label}/{each:03}.png,{said}" for each in range(12)]
        votes = vote(pictures, lines, header="path,ann,bob")
        target = Target(dataset=DataSetName.image_folder, root=str(pictures), votes=votes)
        items = collected(target, Role.target, 0)[0].items
        found.append([item.label for item in items if "/" not in item.path])
    assert found[0] == found[1]
    assert len(found[0]) == 10
