"""The cuts a head reads: the last one alone, unless several beat it by more than chance."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from thawline.training.solve.choice import MOST_ROWS, candidates, choose_cuts, deciding_rows, spread_depths
from thawline.training.solve.features import standardised
from thawline.training.solve.left_out import folds_of
from thawline.training.solve.targets import Targets

CLASSES = 3


def telling(labels: np.ndarray, seed: int, noise: float, columns: int = 12) -> np.ndarray:
    """Columns that tell the classes apart the better the less noise there is."""
    generator = np.random.default_rng(seed)
    middle = np.random.default_rng(99).normal(size=(CLASSES, columns))
    return middle[labels] + noise * generator.normal(size=(len(labels), columns))


@pytest.fixture
def labels() -> np.ndarray:
    return np.arange(150) % CLASSES


@pytest.mark.parametrize(
    ("units", "expected"), [(1, (1,)), (5, (1, 2, 3, 4, 5)), (18, (2, 4, 6, 8, 10, 12, 14, 16, 18))]
)
def test_cuts_are_spread_evenly_up_to_the_last(units: int, expected: tuple[int, ...]) -> None:
    assert spread_depths(units) == expected


def test_candidates_end_at_the_last_cut_and_begin_with_it_alone() -> None:
    found = list(candidates([3, 1, 9, 5, 7]))
    assert found == [(9,), (5, 7, 9), (1, 3, 5, 7, 9), (3, 9)]
    assert list(candidates([4])) == [(4,)]


def test_cuts_that_each_know_something_of_their_own_are_read_together(labels: np.ndarray) -> None:
    cuts = {depth: telling(labels, depth, 3.0) for depth in (2, 4, 6)}
    found = choose_cuts(cuts, Targets(labels, CLASSES))
    assert found.cuts == (2, 4, 6)
    assert found.sets[found.cuts].accuracy > found.sets[6,].accuracy


@pytest.mark.parametrize("seed", range(2))
def test_the_last_cut_stays_alone_where_the_others_know_nothing(labels: np.ndarray, seed: int) -> None:
    noise = np.random.default_rng(1000 + seed).normal(size=(2, len(labels), 12))
    cuts = {2: noise[0], 4: noise[1], 6: telling(labels, seed, 2.0)}
    assert choose_cuts(cuts, Targets(labels, CLASSES)).cuts == (6,)


def test_the_choice_is_the_same_without_the_curve(labels: np.ndarray) -> None:
    cuts = {depth: telling(labels, depth, 3.0) for depth in (2, 4, 6)}
    whole, alone = (choose_cuts(cuts, Targets(labels, CLASSES), curve=curve) for curve in (True, False))
    assert (alone.cuts, alone.sets, alone.singles) == (whole.cuts, whole.sets, {})


def test_single_cuts_make_a_curve(labels: np.ndarray) -> None:
    cuts = {depth: telling(labels, depth, noise) for depth, noise in ((1, 9.0), (2, 1.0), (3, 3.0))}
    curve = {
        depth: each.accuracy for depth, each in choose_cuts(cuts, Targets(labels, CLASSES)).singles.items()
    }
    assert list(curve) == [1, 2, 3]
    assert curve[2] > curve[3] > curve[1]


def test_out_of_fold_predictions_are_those_of_refitting_without_the_fold(labels: np.ndarray) -> None:
    cuts, targets = {1: telling(labels, 1, 3.0), 2: telling(labels, 2, 3.0)}, Targets(labels, CLASSES)
    found = choose_cuts(cuts, targets)
    rows = standardised([cuts[depth] for depth in found.cuts]).rows
    assert found.penalty is not None
    model, expected = LogisticRegression(C=1 / found.penalty, tol=1e-8, max_iter=10_000), np.empty((150, 3))
    for out in folds_of(targets, 5, 0):
        expected[out] = model.fit(rows[~out], labels[~out]).predict_proba(rows[out])
    told = found.sets[found.cuts]
    assert told.accuracy == (expected.argmax(1) == labels).mean()
    assert told.loss == pytest.approx(-np.log(expected[np.arange(150), labels]).mean(), abs=1e-4)


def test_pictures_of_a_group_are_never_on_both_sides() -> None:
    # copies of 15 pictures of noise: whoever has seen the copy knows the label
    labels = np.repeat(np.arange(15) % CLASSES, 10)
    copies = np.repeat(np.random.default_rng(0).normal(size=(15, 40)), 10, axis=0)
    groups = np.repeat(np.arange(15), 10)
    apart, together = (
        choose_cuts({1: copies}, Targets(labels, CLASSES, groups=given)).singles[1]
        for given in (None, groups)
    )
    assert apart.accuracy == 1
    assert together.accuracy < 0.7


def test_of_many_pictures_some_of_each_class_decide() -> None:
    labels = np.repeat(np.arange(CLASSES), [1500, 1500, 300])
    found = choose_cuts({1: telling(labels, 1, 1.0)}, Targets(labels, CLASSES))
    assert len(found.rows) == MOST_ROWS
    assert np.bincount(labels[found.rows]) / len(found.rows) == pytest.approx(
        [15 / 33, 15 / 33, 3 / 33], abs=0.01
    )


@pytest.mark.parametrize(
    ("count", "classes", "most"), [(60, 2, 50), (60, 20, 50), (1002, 7, 1000), (40, 3, 50)]
)
def test_as_many_decide_as_may_and_all_where_there_are_not_more(count: int, classes: int, most: int) -> None:
    labels = np.arange(count) % classes
    found = deciding_rows(Targets(labels, classes), 0, most)
    assert len(found) == min(count, most)
    assert np.ptp(np.bincount(labels[found])) <= 1
    assert (np.diff(found) > 0).all()


def test_what_belongs_together_decides_together() -> None:
    groups = np.repeat(np.arange(30), 7)
    labels = np.repeat(np.arange(30) % 3, 7)
    found = deciding_rows(Targets(labels, 3, groups=groups), 0, 50)
    assert 50 <= len(found) < 50 + 7
    assert set(np.bincount(groups[found])) <= {0, 7}


def test_a_few_groups_decide_however_large_they_are() -> None:
    groups = np.repeat(np.arange(6), 100)
    found = deciding_rows(Targets(np.repeat(np.arange(6) % 2, 100), 2, groups=groups), 0, 50)
    assert len(np.unique(groups[found])) == 5


def test_rows_that_heads_have_labelled_do_not_decide() -> None:
    labels, guessed = np.arange(200) % 2, np.arange(200) >= 100
    found = deciding_rows(Targets(labels, 2, guessed=guessed), 0, 50)
    assert len(found) == 50
    assert not guessed[found].any()


def test_one_picture_of_each_class_leaves_the_last_cut() -> None:
    labels = np.arange(CLASSES)
    found = choose_cuts({1: telling(labels, 1, 1.0), 2: telling(labels, 2, 1.0)}, Targets(labels, CLASSES))
    assert found.cuts == (2,)
    assert found.penalty is None
    assert not found.singles
