"""Which picture ends up where, and what is said when that cannot be done."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thawline.config.sections import DataSet, DataSetName, Role
from thawline.data.losses import Losses
from thawline.data.problems import Severity, said, worst_first
from thawline.data.split import split

FAR = np.random.default_rng(0).integers(0, 2**64, 4096, np.uint64)


def table(rows: list[dict]) -> pd.DataFrame:
    """Pictures that look nothing like each other unless a row says so."""
    usual = [
        {"path": f"{i}", "split": "", "group": "", "content_hash": f"{i}", "perceptual_hash": FAR[i]}
        for i in range(len(rows))
    ]
    return pd.DataFrame([{**filled, **row} for filled, row in zip(usual, rows, strict=True)])


def labelled(**counts: int) -> list[dict]:
    return [{"label": label} for label, count in counts.items() for _ in range(count)]


def options(**fields) -> DataSet:
    return DataSet(dataset=DataSetName.image_folder, root=".", **fields)


def found_wrong(pictures: pd.DataFrame, wanted: DataSet, role: Role = Role.target, **more) -> list[str]:
    """What is wrong and with what, worst first, and the ways out behind arrows."""
    problems = worst_first(split(pictures, wanted, role, 0, **more).problems)
    return [f"{said(each)} -> {each.way_out}" if each.way_out else said(each) for each in problems]


def counts(pictures: pd.DataFrame, names: np.ndarray) -> dict[str, dict[str, int]]:
    found = {name: Counter(pictures["label"][names == name]) for name in ("train", "val", "test", "")}
    return {name or "left out": dict(of) for name, of in found.items() if of}


def test_shares_are_the_same_in_every_class():
    pictures = table(labelled(a=40, b=80))
    result = split(pictures, options(val_fraction=0.2, test_fraction=0.25), Role.target, 0)
    assert counts(pictures, result.names) == {
        "train": {"a": 24, "b": 48},
        "val": {"a": 6, "b": 12},
        "test": {"a": 10, "b": 20},
    }


def test_a_source_has_no_test_split():
    pictures = table(labelled(a=10, b=10))
    result = split(pictures, options(val_fraction=0.1), Role.source, 0)
    assert counts(pictures, result.names) == {"train": {"a": 9, "b": 9}, "val": {"a": 1, "b": 1}}


def test_numbers_per_class_are_kept_to():
    pictures = table(labelled(a=40, b=30))
    result = split(pictures, options(train_per_class=10, val_per_class=5), Role.target, 0)
    assert counts(pictures, result.names) == {
        "train": {"a": 10, "b": 10},
        "val": {"a": 5, "b": 5},
        "test": {"a": 10, "b": 8},
        "left out": {"a": 15, "b": 7},
    }


def test_the_test_split_shrinks_before_the_numbers_asked_for_do():
    pictures = table(labelled(a=20, b=20))
    result = split(pictures, options(train_per_class=14, val_per_class=4), Role.target, 0)
    assert counts(pictures, result.names)["test"] == {"a": 2, "b": 2}


def test_the_rest_is_tested_on_where_the_data_set_says_so():
    pictures = table(labelled(a=40, b=30))
    result = split(pictures, options(train_per_class=3, val_per_class=5), Role.target, 0, rest_is_test=True)
    assert counts(pictures, result.names) == {
        "train": {"a": 3, "b": 3},
        "val": {"a": 5, "b": 5},
        "test": {"a": 32, "b": 22},
    }


@pytest.mark.parametrize(("train", "share"), [(1, 0.01), (1, 0.8), (7, 0.5), (40, 0.2), (40, 0.79)])
def test_the_rest_leaves_what_train_and_the_share_for_val_need(train, share):
    pictures = table(labelled(a=220, b=220))
    wanted = options(train_per_class=train, val_fraction=share)
    found = counts(pictures, split(pictures, wanted, Role.target, 0, rest_is_test=True).names)
    assert found["train"] == {"a": train, "b": train}
    assert "left out" not in found


def test_nothing_is_the_rest_unless_a_number_is_asked_for():
    pictures = table(labelled(a=40, b=40))
    wanted = options(test_fraction=0.5, val_fraction=0.5)
    found = counts(pictures, split(pictures, wanted, Role.target, 0, rest_is_test=True).names)
    assert found == {"train": {"a": 10, "b": 10}, "val": {"a": 10, "b": 10}, "test": {"a": 20, "b": 20}}


def test_given_splits_are_honoured():
    given_splits = ["train"] * 8 + ["val"] * 3 + ["test"] * 4
    pictures = table([{"label": label, "split": name} for label in "ab" for name in given_splits])
    result = split(pictures, options(), Role.target, 0)
    np.testing.assert_array_equal(result.names, pictures["split"])


def test_what_the_data_set_does_not_split_is_taken_from_train():
    pictures = table(
        [{"label": label, "split": name} for label in "ab" for name in ["train"] * 10 + ["test"] * 4]
    )
    result = split(pictures, options(val_fraction=0.3), Role.target, 0)
    assert counts(pictures, result.names) == {
        "train": {"a": 7, "b": 7},
        "val": {"a": 3, "b": 3},
        "test": {"a": 4, "b": 4},
    }
    assert (result.names[pictures["split"] == "test"] == "test").all()


def test_what_is_given_to_train_stays_there_where_other_pictures_are_given_no_split():
    rows = [{"label": label, "split": name} for label in "ab" for name in ["train"] * 6 + [""] * 6]
    result = split(table(rows), options(test_fraction=0.25), Role.target, 0)
    given_rows = [row["split"] == "train" for row in rows]
    assert set(result.names[given_rows]) == {"train"}
    assert Counter(result.names[~np.array(given_rows)]) == {"test": 6, "val": 4, "train": 2}
    rows[0]["group"] = rows[6]["group"] = "leaf"  # what belongs to a given picture stays with it
    assert split(table(rows), options(test_fraction=0.25), Role.target, 0).names[6] == "train"


def test_a_class_given_to_train_as_a_whole_cannot_be_tested():
    rows = [{"label": "a", "split": "train"}] * 6 + [{"label": "b", "split": ""}] * 6
    rows += [{"label": "c", "split": ""}] * 6
    (wrong,) = found_wrong(table(rows), options())
    assert wrong.startswith(
        "class a: 6 pictures of which groups, look-alikes and given splits leave 1 to divide"
    )


def test_given_splits_are_cut_to_the_numbers_per_class_but_the_test_split_is_not():
    given_splits = ["train"] * 8 + ["val"] * 5 + ["test"] * 9
    pictures = table([{"label": label, "split": name} for label in "ab" for name in given_splits])
    found = counts(
        pictures, split(pictures, options(train_per_class=4, val_per_class=2), Role.target, 0).names
    )
    assert (found["train"], found["val"], found["test"]) == (
        {"a": 4, "b": 4},
        {"a": 2, "b": 2},
        {"a": 9, "b": 9},
    )


@st.composite
def collections(draw):
    """Two classes of pictures, many of them near-duplicates and in groups."""
    size = draw(st.integers(16, 40))
    number = st.integers(0, size // 2)
    return table(
        [
            {
                "label": "ab"[index % 2],
                "perceptual_hash": FAR[draw(number)] ^ np.uint64(draw(st.sampled_from([0, 1]))),
                "group": draw(st.sampled_from(["", "", "", f"g{draw(number)}"])),
            }
            for index in range(size)
        ]
    )


@given(pictures=collections(), seed=st.integers(0, 20), role=st.sampled_from(list(Role)))
def test_what_belongs_together_is_never_parted_and_the_same_seed_splits_the_same(pictures, seed, role):
    result = split(pictures, options(), role, seed)
    if any(problem.severity is Severity.error for problem in result.problems):
        return
    names = result.names
    np.testing.assert_array_equal(names, split(pictures, options(), role, seed).names)
    for _, of_group in pictures[pictures["group"] != ""].groupby("group"):
        assert len(set(names[of_group.index])) == 1
    hashes = pictures["perceptual_hash"].to_numpy(np.uint64)
    alike = np.bitwise_count(hashes[:, None] ^ hashes[None, :]) <= 2
    assert (names[:, None] == names[None, :])[alike].all()


def test_another_seed_splits_otherwise():
    pictures = table(labelled(a=30, b=30))
    first, second = (split(pictures, options(), Role.target, seed).names for seed in (0, 1))
    assert (first != second).any()


def test_near_duplicates_are_listed():
    rows = labelled(a=8, b=8)
    rows[3]["perceptual_hash"] = FAR[0] ^ np.uint64(3)
    assert split(table(rows), options(), Role.target, 0).near_duplicates == [["0", "3"]]
    assert split(table(rows), options(near_duplicate_bits=1), Role.target, 0).near_duplicates == []


def test_identical_pixels_stay_together_even_without_comparison():
    rows = labelled(a=12, b=8)
    for row in rows[:6]:
        row.update(content_hash="same", perceptual_hash=FAR[0])
    for row in rows[12:]:
        row.update(perceptual_hash=FAR[12])
    result = split(table(rows), options(near_duplicate_bits=-1), Role.target, 0)
    assert result.near_duplicates == [[str(index) for index in range(6)]]
    assert len(set(result.names[:6])) == 1
    assert len(set(result.names[12:])) == 3


def test_a_suspiciously_large_near_duplicate_group_is_pointed_out():
    rows = labelled(a=30, b=30)
    for row in rows[:15]:
        row["perceptual_hash"] = FAR[0]
    assert found_wrong(table(rows), options()) == [
        "near-duplicates: 15 of 60 pictures count as one near-duplicate group "
        "-> if they show different things: -S target.near_duplicate_bits=-1"
    ]


def given_and_alike(**alike) -> pd.DataFrame:
    """The first training picture is like the first test picture."""
    rows = [{"label": label, "split": name} for name in ("train", "test") for label in "ab" * 6]
    rows[0].update(alike)
    rows[12].update(alike)
    return table(rows)


@pytest.mark.parametrize(
    ("alike", "reason", "detail"),
    [
        ({"perceptual_hash": FAR[0]}, "a train picture that looks like a given test picture", "12"),
        ({"group": "g"}, "a train picture whose group has given test pictures", "g"),
    ],
)
def test_training_pictures_like_given_test_pictures_are_dropped(alike, reason, detail):
    result = split(given_and_alike(**alike), options(), Role.target, 0)
    (dropped,) = result.dropped
    assert (dropped.path, dropped.reason, dropped.detail) == ("0", reason, detail)
    assert result.names[[0, 12]].tolist() == ["", "test"]


def test_without_comparison_only_identical_pixels_count_as_seen():
    near = given_and_alike(perceptual_hash=FAR[0])
    assert split(near, options(near_duplicate_bits=-1), Role.target, 0).dropped == []
    same = given_and_alike(content_hash="x", perceptual_hash=FAR[0])
    assert len(split(same, options(near_duplicate_bits=-1), Role.target, 0).dropped) == 1


def test_a_given_validation_split_is_kept_clean_in_both_directions():
    rows = [{"label": label, "split": name} for name in ("train", "val", "test") for label in "ab" * 3]
    rows[6]["perceptual_hash"] = rows[0]["perceptual_hash"] = FAR[0]  # train and val
    rows[7]["perceptual_hash"] = rows[13]["perceptual_hash"] = FAR[100]  # val and test
    result = split(table(rows), options(), Role.target, 0)
    assert {(d.path, d.detail) for d in result.dropped} == {("0", "6"), ("7", "13")}


def test_one_picture_under_two_labels_is_dropped():
    rows = labelled(a=8, b=8)
    rows[0]["content_hash"] = rows[8]["content_hash"] = "same"
    result = split(table(rows), options(), Role.target, 0)
    assert [(d.path, d.reason, d.detail) for d in result.dropped] == [
        ("0", "the same picture has several labels", "a, b"),
        ("8", "the same picture has several labels", "a, b"),
    ]
    assert result.names[[0, 8]].tolist() == ["", ""]


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
        "train": {"a": 2, "b": 2},
        "val": {"a": 1, "b": 1},
        "test": {"a": 1, "b": 1},
        "left out": {"c": 1},
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


def test_what_was_voted_for_is_trained_on_and_gives_way_to_labels():
    rows = [{"label": "a", "split": "train"}] * 12 + [{"label": "b", "split": "train"}] * 12
    pictures = table([*rows, *[{"label": "a", "split": "voted"}] * 30])
    voted = (pictures["split"] == "voted").to_numpy()
    result = split(pictures, options(val_fraction=0.25), Role.target, 0)
    assert set(result.names[voted]) == {"train"}
    assert counts(pictures[~voted], result.names[~voted])["test"] == {"a": 3, "b": 3}
    capped = split(pictures, options(train_per_class=6, val_per_class=2), Role.target, 0)
    assert counts(pictures[~voted], capped.names[~voted])["train"]["a"] == 6
    assert not (capped.names[voted] == "train").any()


def test_what_was_voted_for_leaves_out_no_picture_with_a_label_and_the_same_content():
    doubles = [
        {"label": "b", "split": "voted", "content_hash": f"{each}", "perceptual_hash": FAR[each]}
        for each in range(12)
    ]
    pictures = table([*labelled(a=12, b=12), *doubles, {"label": "b", "split": "voted"}])
    result = split(pictures, options(), Role.target, 0)
    assert [(each.path, each.detail) for each in result.dropped] == [
        (f"{24 + each}", "b") for each in range(12)
    ]
    assert counts(pictures[:24], result.names[:24])["test"] == {"a": 3, "b": 3}
    assert list(result.names[24:]) == [""] * 12 + ["train"]
