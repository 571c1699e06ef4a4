"""groups.csv: paths are compared as paths, and what does not fit together is said."""

import unicodedata

import pytest

from thawline.config.choices import Groups
from thawline.data.groups import read_groups
from thawline.data.problems import Severity, said

NAMES = ["ant/1.png", "ant/2.png", "bee/1.png", "bee/café 2.png"]


def read(*paths: str, names: list[str] = NAMES, wanted: Groups = Groups.complete):
    rows = "\n".join(f'"{path}",{number // 2}' for number, path in enumerate(paths))
    return read_groups(f"path,group\n{rows}\n".encode(), names, ["set/", "leaves"], wanted, "target")


def nfd(text: str) -> str:
    return unicodedata.normalize("NFD", text)


@pytest.mark.parametrize(
    "written",
    [
        lambda name: name,
        lambda name: name.replace("/", "\\"),
        lambda name: f"./{name}",
        lambda name: f".\\{name}".replace("/", "\\"),
        lambda name: name.replace("/", "//"),
        lambda name: name.replace("/", "/../" + name.split("/")[0] + "/"),
        lambda name: f" {name} ",
        lambda name: name.replace("/", " / "),
        lambda name: name.replace(".png", ".PNG"),
        lambda name: name.upper(),
        nfd,
        lambda name: f"set/{name}",
        lambda name: f"leaves/{name}",
        lambda name: f"/data/set/{name}",
        lambda name: f"C:\\Users\\me\\{name}".replace("/", "\\"),
        lambda name: f"\\\\server\\photos\\{name}".replace("/", "\\"),
        lambda name: f"~/photos/{name}",
        lambda name: f"file:///photos/{name}",
    ],
)
def test_paths_are_compared_as_paths(written):
    groups, problems = read(*map(written, NAMES))
    assert problems == []
    assert groups == dict(zip(NAMES, ["0", "0", "1", "1"], strict=True))


def test_names_in_another_form_than_the_table_are_found():
    groups, problems = read(*NAMES, names=[nfd(name) for name in NAMES])
    assert (len(groups), problems) == (4, [])


def test_names_that_differ_in_case_alone_are_only_found_as_they_are():
    names = ["a/x.png", "a/X.png"]
    groups, problems = read("a/x.png", "a/X.png", names=names)
    assert (list(groups), problems) == (names, [])
    assert [said(problem) for problem in read(".\\a\\x.png", names=names)[1]] == [
        "groups.csv: 1 row names no picture: .\\a\\x.png",
        "groups.csv: no row for 2 of the pictures: a/x.png, a/X.png",
    ]


def test_a_backslash_in_a_name_is_no_separator_where_the_name_is_that():
    groups, problems = read("a\\b.png", names=["a\\b.png"])
    assert (list(groups), problems) == (["a\\b.png"], [])


@pytest.mark.parametrize("path", ["other/ant/1.png", "1.png", "ant/1", "ant", "", "../../ant/9.png"])
def test_other_paths_name_nothing(path):
    groups, _ = read(path)
    assert groups == {}


def test_rows_and_pictures_that_do_not_fit_are_errors_with_the_first_five_of_each():
    names = [f"ant/{number}.png" for number in range(9)]
    groups, problems = read(*(f"wasp/{number}.png" for number in range(7)), "ant/0.png", names=names)
    assert groups == {"ant/0.png": "3"}
    assert [(problem.severity, said(problem)) for problem in problems] == [
        (
            Severity.error,
            "groups.csv: 7 rows name no picture: wasp/0.png, wasp/1.png, wasp/2.png, wasp/3.png, wasp/4.png "
            "and 2 more",
        ),
        (
            Severity.error,
            "groups.csv: no row for 8 of the pictures: ant/1.png, ant/2.png, ant/3.png, ant/4.png, ant/5.png "
            "and 3 more",
        ),
    ]
    assert {problem.way_out for problem in problems} == {
        "correct its paths, or go on without these: -S target.groups=partial"
    }


def test_what_does_not_fit_is_only_noted_where_that_is_wanted():
    groups, problems = read("ant/1.png", "gone.png", wanted=Groups.partial)
    assert groups == {"ant/1.png": "0"}
    assert [problem.severity for problem in problems] == [Severity.note, Severity.note]


def test_a_picture_in_two_groups_is_an_error_however_its_path_is_written():
    _, problems = read("ant/1.png", "ant/2.png", "ant\\1.png", "bee/1.png", "bee/café 2.png")
    assert [said(problem) for problem in problems] == [
        "groups.csv: 1 picture in several groups: ant/1.png (0, 1)"
    ]


@pytest.mark.parametrize(
    ("one", "other"), [("Tree 1", "tree 1"), ("0", "0.0"), ("-3", "-3.00"), ("tree  1", "tree 1")]
)
def test_groups_that_look_like_one_are_an_error_as_such_classes_are(one, other):
    content = f"path,group\nant/1.png,{one}\nant/2.png,{other}\nbee/1.png,x\n"
    _, (problem, _) = read_groups(content.encode(), NAMES, [], Groups.partial, "target")
    assert problem.severity is Severity.error
    assert said(problem) == f"group {one}: many systems cannot tell it from: {other!r}"
    assert problem.way_out == "merge the groups, or rename all but one."


def test_numbers_with_other_digits_are_other_groups():
    content = "path,group\nant/1.png,1.1\nant/2.png,1.10\nbee/1.png,01\nbee/café 2.png,1\n"
    assert read_groups(content.encode(), NAMES, [], Groups.complete, "target")[1] == []


def test_a_table_without_a_group_is_an_error_and_one_with_some_is_none():
    content = "".join(["path,group\n", *(f"{name}, \n" for name in NAMES)])
    groups, (problem,) = read_groups(content.encode(), NAMES, [], Groups.complete, "target")
    assert set(groups.values()) == {""}
    assert (problem.severity, said(problem)) == (
        Severity.error,
        "groups.csv: the column group is blank in every row",
    )
    some = content.replace(", ", ",x", 1)
    assert read_groups(some.encode(), NAMES, [], Groups.complete, "target")[1] == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"path;id\na/1.jpg;x\n", r"has the wrong columns (missing: group)"),
        (b"", "has the wrong columns (missing: path, group)"),
        (b'path,group\n"a/1.jpg,x\n', "cannot be read: unexpected end of data"),
        ("path,group\nä.png,x\n".encode("latin-1"), "is not UTF-8"),
        (b"path,group\na.png\n", "cannot be read: line 2 does not have 2 fields, as the header does"),
    ],
)
def test_what_is_no_such_table_is_an_error(content, message):
    groups, (problem,) = read_groups(content, NAMES, [], Groups.partial, "target")
    assert (groups, problem.severity, problem.what) == ({}, Severity.error, message)


@pytest.mark.parametrize("content", ["Path;Group;Note\nant/1.png;x;y\n", "\ufeffgroup\tpath\nx\tant/1.png\n"])
def test_other_separators_columns_and_orders_are_read(content):
    groups, _ = read_groups(content.encode(), NAMES, [], Groups.partial, "target")
    assert groups == {"ant/1.png": "x"}
