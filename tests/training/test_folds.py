"""Cross-validation validates on every picture, keeps classes in proportion and groups together."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thawline.config.choices import ValidationName
from thawline.config.errors import UserError
from thawline.training.folds import FEW, folds, most_folds, per_class, stitched, validation_by, validation_of

LABELS = np.repeat([0, 1, 2], [50, 30, 20])


@given(st.integers(0, 10**6), st.integers(2, 6), st.integers(0, 2), st.booleans())
@settings(max_examples=30, deadline=None)
def test_each_repetition_validates_once_on_every_picture(
    seed: int, count: int, repeat: int, grouped: bool
) -> None:
    groups = np.arange(100) // 2 if grouped else None
    found = folds(LABELS, groups, count=count, repeat=repeat, seed=seed)
    assert len(found) == count
    for part in found:
        assert np.array_equal(np.sort(np.concatenate([part.train, part.val])), np.arange(100))
        assert len(part.val)
    assert np.array_equal(np.sort(np.concatenate([part.val for part in found])), np.arange(100))


@pytest.mark.parametrize("repeat", [0, 2])
def test_each_fold_has_its_share_of_every_class(repeat: int) -> None:
    for part in folds(LABELS, count=5, repeat=repeat):
        assert np.bincount(LABELS[part.val]).tolist() == [10, 6, 4]


def test_pictures_of_one_group_are_never_separated() -> None:
    groups = np.random.default_rng(0).integers(0, 40, 100)
    for part in folds(LABELS, groups, count=4, repeat=2):
        assert not set(groups[part.train]) & set(groups[part.val])


def test_a_seed_decides_and_each_repetition_is_shuffled_anew() -> None:
    def rows(**options: int) -> list[list[int]]:
        return [part.val.tolist() for part in folds(LABELS, **options)]

    assert rows(seed=1) == rows(seed=1)
    assert rows(seed=1) != rows(seed=2)
    assert rows(seed=1, repeat=1) != rows(seed=1)


def test_a_class_rarer_than_the_folds_is_validated_on_in_some_of_them() -> None:
    labels = np.repeat([0, 1], [20, 3])
    found = folds(labels, count=5)
    assert sorted(int(labels[part.val].sum()) for part in found) == [0, 0, 1, 1, 1]


def test_more_folds_than_pictures_are_refused() -> None:
    with pytest.raises(UserError, match=r"5 folds are impossible with 6 pictures, at most 4 of one class"):
        folds(np.array([0, 0, 0, 0, 1, 1]))
    with pytest.raises(UserError, match=r"with 3 groups of pictures.*\n.*from 2 to 3 folds; or search.val"):
        folds(LABELS, np.arange(100) % 3)


def test_a_fold_that_could_not_learn_a_class_is_refused() -> None:
    with pytest.raises(
        UserError, match="no training pictures of class 1 in one fold: it has too few pictures"
    ):
        folds(np.array([0] * 9 + [1]), count=3)
    with pytest.raises(UserError, match="it has too few groups of pictures"):
        folds(np.array([0] * 8 + [1] * 2), np.array([*range(8), 8, 8]), count=3)


def test_values_of_folds_come_in_the_order_of_the_pictures() -> None:
    parts = folds(LABELS, count=4)
    assert stitched(parts, [part.val for part in parts]).tolist() == list(range(100))
    pairs = [np.stack([part.val, -part.val], axis=1) for part in parts]
    assert stitched(parts, pairs).tolist() == [[row, -row] for row in range(100)]
    with pytest.raises(ValueError, match="a fold is missing"):
        stitched(parts[:3], [part.val for part in parts[:3]])


def test_classes_are_counted_in_pictures_or_groups() -> None:
    assert per_class(LABELS) == [50, 30, 20]
    assert per_class(LABELS, np.arange(100) // 10) == [5, 3, 2]


@given(st.integers(0, 400))
@settings(max_examples=40, deadline=None)
def test_groups_of_several_classes_leave_as_many_folds_as_they_allow(seed: int) -> None:
    """A class may lie in two groups that one fold would hold out together."""
    generator = np.random.default_rng(seed)
    groups = np.repeat(np.arange(10), 12)
    labels = np.zeros(120, int)
    for each in (1, 2):
        for group in generator.choice(10, 2, replace=False):
            labels[12 * group + each] = each
    found = most_folds(labels, groups, 5, seed)
    if found > 1:
        assert len(folds(labels, groups, count=found, seed=seed)) == found
    for more in range(found + 1, 6):
        with pytest.raises(UserError):
            folds(labels, groups, count=more, seed=seed)


@given(st.lists(st.integers(1, 7), min_size=2, max_size=4), st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_as_many_folds_as_there_can_be_are_never_refused_and_more_are(counts: list[int], size: int) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    groups = np.concatenate([1000 * label + np.arange(count) // size for label, count in enumerate(counts)])
    found = most_folds(labels, groups, 5)
    if found > 1:
        assert len(folds(labels, groups, count=found)) == found
    if found < 5:
        with pytest.raises(UserError):
            folds(labels, groups, count=found + 1)


def test_few_pictures_are_cross_validated_and_the_reason_says_what_it_brings() -> None:
    found = validation_of(300, held_out=60, rarest=20)
    assert (found.kind, found.folds) == ("kfold", 5)
    assert found.reason == (
        "Validated by 5-fold cross-validation, because 300 pictures are few: 60 held-out pictures tell an "
        "accuracy of 90 % to within 8 points, all 300 to within 3. Each trial takes 5 trainings."
    )


def test_many_pictures_are_held_out_in_part() -> None:
    found = validation_of(3000, held_out=600, rarest=20)
    assert (found.kind, found.folds) == ("holdout", 1)
    assert found.reason == (
        "Validated on a held-out part of 3,000 pictures: 600 held-out pictures tell an accuracy of 90 % "
        "to within 2 points."
    )
    assert validation_of(FEW, 100, 20).kind == "holdout"
    assert validation_of(FEW - 1, 100, 20).kind == "kfold"


def test_a_rare_class_allows_fewer_folds_or_none() -> None:
    assert validation_of(100, 20, rarest=3).folds == 3
    alone = validation_of(100, 20, rarest=1)
    assert alone.kind == "holdout"
    assert "some class is too small to be divided" in alone.reason


def test_a_large_held_out_part_is_used_though_there_are_few_pictures() -> None:
    found = validation_of(80, held_out=50, rarest=8)
    assert (found.kind, found.folds) == ("holdout", 1)
    assert found.reason == (
        "Validated on a held-out part, because it is more than a third of 80 pictures, and a fold would "
        "train on many more pictures than the final fine-tuning does; 50 held-out pictures tell an accuracy "
        "of 90 % to within 8 points."
    )
    assert validation_of(90, held_out=30, rarest=8).kind == "kfold"


def test_what_was_asked_for_is_done_whatever_the_number_of_pictures() -> None:
    folded = validation_by(ValidationName.kfold, 9000, 900, rarest=40, count=7)
    assert (folded.kind, folded.folds) == ("kfold", 7)
    assert "as search.validation says" in folded.reason
    held = validation_by(ValidationName.holdout, 60, 12, rarest=3)
    assert (held.kind, held.folds) == ("holdout", 1)
    assert "as search.validation says" in held.reason
    assert validation_by(ValidationName.auto, 300, 60, 20, count=4).folds == 4
