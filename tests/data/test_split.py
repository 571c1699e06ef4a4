"""Which picture ends up where."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests_splits import FAR, counts, labelled, options, table

from thawline.config.sections import Role
from thawline.data.problems import Severity
from thawline.data.split import split
from thawline.data.store import groups_of


@pytest.mark.parametrize(
    ("classes", "fields", "more", "expected"),
    [
        (
            {"a": 40, "b": 80},
            {"val_fraction": 0.2, "test_fraction": 0.25},
            {},
            {"train": (24, 48), "val": (6, 12), "test": (10, 20)},
        ),
        ({"a": 10, "b": 10}, {"val_fraction": 0.1}, {"role": Role.source}, {"train": (9, 9), "val": (1, 1)}),
        (
            {"a": 40, "b": 30},
            {"train_per_class": 10, "val_per_class": 5},
            {},
            {"train": (10, 10), "val": (5, 5), "test": (10, 8), "left out": (15, 7)},
        ),
        (
            {"a": 20, "b": 20},
            {"train_per_class": 14, "val_per_class": 4},
            {},
            {"train": (14, 14), "val": (4, 4), "test": (2, 2)},
        ),
        (
            {"a": 40, "b": 30},
            {"train_per_class": 3, "val_per_class": 5},
            {"rest_is_test": True},
            {"train": (3, 3), "val": (5, 5), "test": (32, 22)},
        ),
        (
            {"a": 40, "b": 40},
            {"val_fraction": 0.5, "test_fraction": 0.5},
            {"rest_is_test": True},
            {"train": (10, 10), "val": (10, 10), "test": (20, 20)},
        ),
    ],
    ids=[
        *("shares are those of every class", "a source has no test split", "numbers per class are kept to"),
        *("the test split shrinks first", "the rest is tested on", "nothing is the rest of shares alone"),
    ],
)
def test_every_class_is_divided_as_is_asked_for(classes, fields, more, expected):
    pictures = table(labelled(**classes))
    result = split(pictures, options(**fields), **{"role": Role.target, "seed": 0, **more})
    assert counts(pictures, result.names) == expected


@pytest.mark.parametrize(("train", "share"), [(1, 0.01), (1, 0.8), (7, 0.5), (40, 0.2), (40, 0.79)])
def test_the_rest_leaves_what_train_and_the_share_for_val_need(train, share):
    pictures = table(labelled(a=220, b=220))
    wanted = options(train_per_class=train, val_fraction=share)
    found = counts(pictures, split(pictures, wanted, Role.target, 0, rest_is_test=True).names)
    assert found["train"] == (train, train)
    assert "left out" not in found


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
        "train": (7, 7),
        "val": (3, 3),
        "test": (4, 4),
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


def test_given_splits_are_cut_to_the_numbers_per_class_but_the_test_split_is_not():
    given_splits = ["train"] * 8 + ["val"] * 5 + ["test"] * 9
    pictures = table([{"label": label, "split": name} for label in "ab" for name in given_splits])
    found = counts(
        pictures, split(pictures, options(train_per_class=4, val_per_class=2), Role.target, 0).names
    )
    assert (found["train"], found["val"], found["test"]) == (
        (4, 4),
        (2, 2),
        (9, 9),
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


@settings(max_examples=12)
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
    # whoever divides them further is told, too
    number = groups_of(pictures.assign(group=result.groups))
    pairs = alike | (pictures["group"].to_numpy(str)[:, None] == [each or None for each in pictures["group"]])
    assert (number[:, None] == number[None, :])[pairs & (names != "")[:, None] & (names != "")].all()


def test_pictures_that_look_alike_are_of_one_group_and_all_others_keep_theirs():
    rows = labelled(a=9, b=8)
    rows[3]["perceptual_hash"] = rows[5]["perceptual_hash"] = FAR[0] ^ np.uint64(3)
    rows[5]["group"] = rows[8]["group"] = rows[9]["group"] = "tree 7"
    expected = [""] * 17
    for row in (0, 3, 5, 8, 9):
        expected[row] = "tree 7"
    assert list(split(table(rows), options(), Role.target, 0).groups) == expected
    for row in (5, 8, 9):
        del rows[row]["group"]
        expected[row] = "0" if row == 5 else ""
    expected[0] = expected[3] = "0"
    assert list(split(table(rows), options(), Role.target, 0).groups) == expected


def test_what_is_like_a_given_test_picture_through_others_alone_has_no_group_in_common_with_it():
    near, nearer = (FAR[0] ^ np.uint64(bits) for bits in (0b1111, 0b11))
    rows = [{"label": label, "split": name} for name in ("train", "test") for label in "ab" * 6]
    for row, looks in ((0, FAR[0]), (2, near), (4, near), (6, nearer), (12, nearer ^ np.uint64(0b10000))):
        rows[row]["perceptual_hash"] = looks
    result = split(table(rows), options(), Role.target, 0)
    assert result.names[6] == ""
    assert list(result.groups[[0, 2, 4, 12]]) == ["0", "0", "0", ""]


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


def test_what_was_voted_for_is_trained_on_and_gives_way_to_labels():
    rows = [{"label": "a", "split": "train"}] * 12 + [{"label": "b", "split": "train"}] * 12
    pictures = table([*rows, *[{"label": "a", "split": "voted"}] * 30])
    voted = (pictures["split"] == "voted").to_numpy()
    result = split(pictures, options(val_fraction=0.25), Role.target, 0)
    assert set(result.names[voted]) == {"train"}
    assert counts(pictures[~voted], result.names[~voted])["test"] == (3, 3)
    capped = split(pictures, options(train_per_class=6, val_per_class=2), Role.target, 0)
    assert counts(pictures[~voted], capped.names[~voted])["train"][0] == 6
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
    assert counts(pictures[:24], result.names[:24])["test"] == (3, 3)
    assert list(result.names[24:]) == [""] * 12 + ["train"]
