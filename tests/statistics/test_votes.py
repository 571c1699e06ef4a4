"""Voters are weighed by how reliable they are found to be, and copies count once."""

import numpy as np
import pytest

from thawline.statistics.votes import consensus, copies, joined, majority, reliability


def draw(accuracies: list[float], classes: int, pictures: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the truth (N,) and the votes (N, V) of voters who err independently."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(classes, size=pictures)
    columns = []
    for accuracy in accuracies:
        wrong = (truth + generator.integers(1, classes, pictures)) % classes
        columns.append(np.where(generator.random(pictures) < accuracy, truth, wrong))
    return truth, np.stack(columns, 1)


def share_right(shares: np.ndarray, truth: np.ndarray) -> float:
    return float((shares.argmax(1) == truth).mean())


def test_a_reliable_voter_outweighs_two_that_guess() -> None:
    truth, votes = draw([0.95, 0.9, 0.4, 0.4, 0.4], 3, 300, 0)
    found = consensus(votes, 3)
    assert share_right(found, truth) > share_right(majority(votes, 3), truth) + 0.05
    np.testing.assert_allclose(found.sum(1), 1)


def test_a_voter_who_confuses_two_classes_is_understood() -> None:
    truth, votes = draw([0.8, 0.8, 0.8], 3, 400, 1)
    swapped = np.array([1, 0, 2])[truth]
    found = consensus(np.column_stack([votes, swapped]), 3)
    assert share_right(found, truth) > 0.97


@pytest.mark.parametrize("seed", range(3))
def test_equal_voters_are_a_majority(seed: int) -> None:
    truth, votes = draw([0.7] * 5, 4, 300, seed)
    by_all, found = majority(votes, 4), consensus(votes, 4)
    clear = np.sort(by_all, 1)[:, -1] - np.sort(by_all, 1)[:, -2] > 0.3
    assert (found.argmax(1) == by_all.argmax(1))[clear].mean() > 0.98
    assert abs(share_right(found, truth) - share_right(by_all, truth)) < 0.03


def test_known_labels_stay_and_say_who_is_reliable() -> None:
    truth, votes = draw([0.9, 0.3, 0.3], 2, 100, 2)
    known = np.where(np.arange(100) < 40, truth, -1)
    found = consensus(votes, 2, known)
    np.testing.assert_array_equal(found[:40], np.eye(2)[truth[:40]])
    assert reliability(votes, found)[0] > 0.8
    assert share_right(found[40:], truth[40:]) > 0.8


def test_who_abstains_says_nothing() -> None:
    votes = np.array([[0, 0, -1], [1, -1, -1], [-1, -1, -1]])
    found = consensus(votes, 2)
    assert found[0, 0] > 0.5
    assert found[1, 1] > 0.5
    assert np.isnan(reliability(votes, found)[2])
    np.testing.assert_allclose(majority(votes, 2), [[1, 0], [0, 1], [2 / 3, 1 / 3]])


@pytest.mark.parametrize("classes", [2, 7])
def test_near_copies_are_found_and_count_as_one(classes: int) -> None:
    truth, votes = draw([0.85, 0.8, 0.75, 0.7, 0.6, 0.5], classes, 300, 3)
    other = np.random.default_rng(0).integers(classes, size=300)
    copied = np.where(np.random.default_rng(1).random(300) < 0.95, votes[:, 4], other)
    both = np.column_stack([votes, copied])
    first = copies(both, classes)
    assert first.tolist() == [0, 1, 2, 3, 4, 5, 4]
    as_one, as_two = consensus(joined(both, first), classes), consensus(both, classes)
    assert share_right(as_one, truth) > share_right(as_two, truth) + 0.01


@pytest.mark.parametrize(
    ("accuracies", "classes"),
    [([0.7] * 6, 2), ([0.95, 0.95, 0.9, 0.6, 0.6], 5), ([0.97, 0.96, *[0.5] * 4], 2)],
)
def test_voters_that_know_the_same_are_no_copies(accuracies: list[float], classes: int) -> None:
    found = [copies(draw(accuracies, classes, 200, seed)[1], classes).tolist() for seed in range(10)]
    assert sum(each != list(range(len(accuracies))) for each in found) <= 1


def test_two_voters_are_copies_only_where_they_never_differ() -> None:
    truth, votes = draw([0.9, 0.9], 2, 100, 0)
    assert copies(votes, 2).tolist() == [0, 1]
    assert copies(np.column_stack([truth, truth]), 2).tolist() == [0, 0]


def test_a_copy_votes_where_the_first_abstains() -> None:
    assert joined(np.array([[0, -1, 1], [-1, 2, 1]]), np.array([0, 0, 2])).tolist() == [[0, 1], [2, 1]]
