"""The one-standard-error rule: what is simpler is taken unless what trains more is clearly better."""

import numpy as np

from thawline.statistics.one_standard_error import simplest


def taken(correct: list[list[int]], frozen: list[int], clusters: list[int] | None = None) -> int:
    rows = np.array(correct, float)
    best = np.array([rows.mean(1).argmax()])
    groups = np.arange(rows.shape[1]) if clusters is None else np.array(clusters)
    return int(simplest(rows, best, np.array(frozen), groups, np.ones((rows.shape[1], 1)))[0])


def right(count: int, of: int = 50, first: int = 0) -> list[int]:
    """Right on `count` pictures from the place `first` on, wrong on the others."""
    return [int(first <= place < first + count) for place in range(of)]


def test_a_lead_within_one_standard_error_is_not_enough() -> None:
    # two pictures more of 50, on six of which they differ: 4 points, a standard error of 4.8
    head = right(44)
    trained = [int(place not in (0, 1)) for place in range(48)] + [0, 0]
    assert sum(trained) - sum(head) == 2
    assert taken([trained, head], [3, 9]) == 1


def test_a_clear_lead_is() -> None:
    assert taken([right(48), right(40)], [3, 9]) == 0


def test_what_freezes_less_is_not_taken_for_being_near() -> None:
    assert taken([right(45), right(44)], [9, 3]) == 0


def test_of_several_that_are_near_the_most_frozen_is_taken_and_of_these_the_most_accurate() -> None:
    rows = [right(45), right(44, first=1), right(44, first=2), right(45, first=1), right(20)]
    assert taken(rows, [0, 5, 9, 9, 12]) == 3


def test_equal_answers_need_no_error() -> None:
    assert taken([right(45), right(45)], [0, 9]) == 1


def test_pictures_of_one_group_count_as_one() -> None:
    # right on five pictures where the other is right on two others: clear if each stands for itself, not if
    # the five are one object and the two another
    rows = [[*right(45, 48), 0, 0], [*right(40, 48), 1, 1]]
    assert taken(rows, [0, 9]) == 0
    assert taken(rows, [0, 9], [*range(40), *[40] * 5, 41, 42, 43, 44, 44]) == 1


def test_each_weighting_is_decided_by_itself() -> None:
    rows = np.array([right(48), right(40)], float)
    weights = np.stack([np.ones(50), np.r_[np.ones(40), np.zeros(10)]], axis=1)
    found = simplest(rows, np.array([0, 0]), np.array([0, 9]), np.arange(50), weights)
    assert found.tolist() == [0, 1]


def test_on_labels_that_say_nothing_the_simplest_is_mostly_taken() -> None:
    generator = np.random.default_rng(0)
    rows = (generator.random((8, 200)) < 0.5).astype(float)
    weights = generator.multinomial(200, np.full(200, 1 / 200), size=100).T.astype(float)
    best = (rows @ weights).argmax(0)
    found = simplest(rows, best, np.arange(8), np.arange(200), weights)
    assert (found >= best).all()
