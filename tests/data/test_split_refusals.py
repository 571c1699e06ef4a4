"""What is said where pictures cannot be divided as is asked for."""

from collections import Counter

import pytest
from tests_splits import FAR, counts, found_wrong, labelled, options, table

from thawline.config.sections import Role
from thawline.data.losses import Losses
from thawline.data.problems import said
from thawline.data.split import split

WITHOUT = "or go on without: -S target.allow_missing_classes=true"


def test_a_class_only_tested_on():
    rows = [{"label": label, "split": "train"} for label in "ab" * 4] + [{"label": "c", "split": "test"}]
    assert found_wrong(table(rows), options()) == [
        "class c: no training picture, 1 of other splits "
        f"-> put right what was lost, or add pictures, {WITHOUT}"
    ]


def test_without_a_class_that_only_was_tested_on_others_are_tested_on():
    rows = [{"label": label, "split": "train"} for label in "ab" * 4] + [{"label": "c", "split": "test"}]
    result = split(table(rows), options(allow_missing_classes=True), Role.target, 0)
    assert counts(table(rows), result.names) == {
        "train": (2, 2, 0),
        "val": (1, 1, 0),
        "test": (1, 1, 0),
        "left out": (0, 0, 1),
    }
    assert [said(problem) for problem in result.problems] == [
        "class c: left out: no training picture, 1 of other splits"
    ]
    assert [(picture.path, picture.reason) for picture in result.dropped] == [("8", "its class is left out")]


def test_a_class_not_tested_on_is_noted():
    rows = [{"label": label, "split": "train"} for label in "abc" * 4]
    rows += [{"label": label, "split": "test"} for label in "ab"]
    assert found_wrong(table(rows), options()) == ["test split: no test pictures of c"]


def test_a_single_class():
    (problem,) = found_wrong(table(labelled(a=9)), options())
    assert problem.startswith("classes: only one, a, can be used; two or more are needed")


def test_a_class_of_which_all_is_lost_is_named_with_the_reasons():
    rows = labelled(a=8, b=8, c=2)
    rows[0]["content_hash"] = rows[16]["content_hash"] = "same"
    rows[1]["content_hash"] = rows[17]["content_hash"] = "other"
    lost = Losses({"c": Counter({"cannot be read": 3}), "d": Counter({"cannot be read": 4}), "e": Counter()})
    way = f"put right what was lost, or add pictures, {WITHOUT}"
    twice = "the same picture has several labels (2)"
    assert found_wrong(table(rows), options(), losses=lost) == [
        f"class c: none of its 5 pictures is left: cannot be read (3), {twice} -> {way}",
        f"class d: none of its 4 pictures is left: cannot be read (4) -> {way}",
        f"class e: no picture: its folder is empty -> {way}",
        f"class a: 2 of its 8 pictures are left out: {twice}",
    ]
    result = split(table(rows), options(allow_missing_classes=True), Role.target, 0, losses=lost)
    assert set(table(rows)["label"][result.names != ""]) == {"a", "b"}


@pytest.mark.parametrize(("lost", "said"), [(1, False), (2, True)])
def test_a_class_that_loses_more_than_a_tenth_is_named_with_numbers(lost, said):
    losses = Losses({"a": Counter({"cannot be read": lost})})
    expected = [f"class a: {lost} of its {9 + lost} pictures are left out: cannot be read ({lost})"]
    assert found_wrong(table(labelled(a=9, b=9)), options(), losses=losses) == (expected if said else [])


@pytest.mark.parametrize(
    ("fields", "role", "wrong"),
    [
        (
            {},
            Role.target,
            f"class b: 2 pictures, needed are 1 train + 1 val + 1 test -> add pictures, {WITHOUT}",
        ),
        (
            {"train_per_class": 6},
            Role.target,
            "class b: 3 pictures, needed are 6 train + 1 val + 1 test -> ask for less: "
            "-S target.train_per_class=1",
        ),
        (
            {"train_per_class": 5},
            Role.source,
            "class b: 3 pictures, needed are 5 train + 1 val -> ask for less: -S source.train_per_class=2",
        ),
        (
            {"val_per_class": 8},
            Role.target,
            "class b: 3 pictures, needed are 1 train + 8 val + 1 test -> ask for less: "
            "-S target.val_per_class=1",
        ),
        (
            {"train_per_class": 5, "val_per_class": 8},
            Role.target,
            "class b: 4 pictures, needed are 5 train + 8 val + 1 test -> ask for less: "
            "-S target.train_per_class=1 -S target.val_per_class=2",
        ),
    ],
)
def test_too_few_pictures_and_what_can_be_asked_for_instead(fields, role, wrong):
    pictures = table(labelled(a=20, c=20, b=int(wrong.split()[2])))
    assert found_wrong(pictures, options(**fields), role) == [wrong]
    if "ask for less" in wrong:
        settings = dict(setting.split(".")[1].split("=") for setting in wrong.split("-S ")[1:])
        less = {**fields, **{name: int(value) for name, value in settings.items()}}
        assert found_wrong(pictures, options(**less), role) == []


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"val_fraction": 0}, "validation: the data set names no validation pictures, and val_fraction is 0"),
        ({"test_fraction": 0}, "test: the data set names no test pictures, and test_fraction is 0"),
    ],
)
def test_a_split_nothing_is_wanted_for(fields, problem):
    (wrong,) = found_wrong(table(labelled(a=9, b=9)), options(**fields))
    assert wrong.startswith(f"{problem} -> -S target.")


def test_a_class_of_look_alikes_cannot_be_divided():
    rows = labelled(a=9, b=9, c=9)
    for row in rows[:9]:
        row["perceptual_hash"] = FAR[0]
    wrong, _ = found_wrong(table(rows), options())
    assert wrong == (
        "class a: 9 pictures of which groups, look-alikes and given splits leave 1 to divide, needed are "
        "1 train + 1 val + 1 test -> if they show different things: -S target.near_duplicate_bits=-1"
    )
    assert found_wrong(table(rows), options(near_duplicate_bits=-1)) == []


def test_a_class_in_two_groups_cannot_be_divided_either():
    rows = labelled(a=9, b=9, c=9)
    for index, row in enumerate(rows[:9]):
        row["group"] = f"tree {index % 2}"
    (wrong,) = found_wrong(table(rows), options())
    assert wrong == (
        "class a: 9 pictures of which groups, look-alikes and given splits leave 2 to divide, needed are "
        f"1 train + 1 val + 1 test -> add pictures of other things, {WITHOUT}"
    )
    without = split(table(rows), options(allow_missing_classes=True), Role.target, 0)
    assert set(table(rows)["label"][without.names != ""]) == {"b", "c"}


def test_a_class_given_to_train_as_a_whole_cannot_be_tested():
    rows = [{"label": "a", "split": "train"}] * 6 + [{"label": "b", "split": ""}] * 6
    rows += [{"label": "c", "split": ""}] * 6
    (wrong,) = found_wrong(table(rows), options())
    assert wrong.startswith(
        "class a: 6 pictures of which groups, look-alikes and given splits leave 1 to divide"
    )


def test_a_suspiciously_large_near_duplicate_group_is_pointed_out():
    rows = labelled(a=30, b=30)
    for row in rows[:15]:
        row["perceptual_hash"] = FAR[0]
    assert found_wrong(table(rows), options()) == [
        "near-duplicates: 15 of 60 pictures count as one near-duplicate group "
        "-> if they show different things: -S target.near_duplicate_bits=-1"
    ]
