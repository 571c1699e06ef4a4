"""Pseudo-labels help where unlabelled pictures show what few labelled ones do not, and judge nobody."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from thawline.training.solve import self_training
from thawline.training.solve.choice import MOST_ROWS
from thawline.training.solve.left_out import folds_of
from thawline.training.solve.self_training import WEIGHT, Known, out_of_fold, pseudo_labels
from thawline.training.solve.targets import Targets


def clouds(count: int, seed: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return points of two classes, apart along the first of many columns, and their labels."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    rows = generator.normal(size=(count, 30))
    rows[:, 0] += np.where(labels, 2.0, -2.0) + shift
    return rows, labels


@pytest.fixture
def known() -> Known:
    rows, labels = clouds(8, 0)
    return Known(rows, Targets(labels, 2), clouds(200, 1)[0], penalty=3.0)


def test_they_are_right_where_heads_agree_and_nothing_elsewhere(known: Known) -> None:
    pseudo, truth = pseudo_labels(known), clouds(200, 1)[1]
    used = pseudo.any(1)
    assert 50 < used.sum() < 200
    assert (pseudo[used].argmax(1) == truth[used]).mean() > 0.9
    np.testing.assert_allclose(pseudo.sum(1), WEIGHT * used)


def test_heads_that_learn_from_them_are_right_more_often(known: Known) -> None:
    asked, truth = clouds(1000, 2)
    everyone = np.full(8, True)
    alone = known.answers(asked, everyone, None).argmax(1) == truth
    told = known.answers(asked, everyone, pseudo_labels(known)).argmax(1) == truth
    assert told.mean() > alone.mean() + 0.02


def test_shares_of_classes_go_towards_those_of_the_labelled_ones(known: Known) -> None:
    moved = replace(known, others=clouds(200, 1, shift=2.0)[0])
    first = moved.answers(moved.others, np.full(8, True), None).argmax(1).mean()
    pseudo = pseudo_labels(moved)
    assert abs(pseudo[:, 1].sum() / pseudo.sum() - 0.5) < abs(first - 0.5)


def test_of_many_labelled_pictures_as_many_teach_as_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, labels = clouds(MOST_ROWS + 400, 0)
    solved, taught = self_training.regressions, []

    def noted(rows: np.ndarray, *rest: Any) -> Any:
        taught.append(len(rows))
        return solved(rows, *rest)

    monkeypatch.setattr(self_training, "regressions", noted)
    pseudo_labels(Known(rows, Targets(labels, 2), clouds(5, 1)[0], penalty=3.0))
    # and those that are labelled so
    assert MOST_ROWS * 4 / 5 <= max(taught) <= MOST_ROWS * 4 / 5 + 5


def test_left_out_pictures_are_asked_once_of_each_way_and_repeat(known: Known) -> None:
    said = out_of_fold(known, 2, 0)
    assert said is not None
    assert said.shape == (2, 2, 8, 2)
    np.testing.assert_allclose(said.sum(3), 1)


def test_a_left_out_label_decides_nothing_about_its_own_picture(known: Known) -> None:
    out = folds_of(known.targets, 5, 0)[0]
    wrong = replace(known.targets, labels=np.where(out, 1 - known.targets.labels, known.targets.labels))
    first, second = (pseudo_labels(replace(known, targets=each).at(~out)) for each in (known.targets, wrong))
    np.testing.assert_array_equal(first, second)


def test_without_two_pictures_of_a_class_nothing_is_said() -> None:
    alone = Known(np.eye(2), Targets(np.array([0, 1]), 2), np.ones((3, 2)), 1.0)
    assert not pseudo_labels(alone).any()
    assert out_of_fold(alone, 1, 0) is None


def test_pseudo_labelled_rows_are_in_no_fold_and_change_none() -> None:
    labels, guessed = np.array([0, 1, 0, 1, 0, 1, 0, 0]), np.array([0, 0, 0, 1, 0, 1, 0, 1], bool)
    folds = folds_of(Targets(labels, 2, guessed=guessed), 3, 0)
    own = folds_of(Targets(labels[~guessed], 2), 3, 0)
    assert not np.any([fold & guessed for fold in folds])
    np.testing.assert_array_equal([fold[~guessed] for fold in folds], own)
