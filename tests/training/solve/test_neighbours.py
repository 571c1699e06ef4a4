"""The nearest neighbours' vote, each picture and its group left out."""

import numpy as np

from thawline.training.solve.neighbours import left_out_votes


def one_by_one(features: np.ndarray, labels: np.ndarray, groups: np.ndarray, count: int) -> np.ndarray:
    """How many of the nearest in other groups are of each class, found row by row."""
    centred = features - features.mean(0)
    found = np.zeros((len(labels), labels.max() + 1), int)
    for row, own in enumerate(centred):
        others = np.flatnonzero(groups != groups[row])
        cosine = [own @ centred[i] / np.linalg.norm(own) / np.linalg.norm(centred[i]) for i in others]
        for place in np.argsort(-np.array(cosine))[:count]:
            found[row, labels[others[place]]] += 1
    return found


def test_votes_are_those_of_the_nearest_in_other_groups() -> None:
    random = np.random.default_rng(1)
    features, labels = random.normal(size=(30, 6)) + 3, np.arange(30) % 3
    groups = np.arange(30) // 2
    found = left_out_votes(features, labels, 3, groups=groups, neighbours=4)
    assert (np.round(found) == one_by_one(features, labels, groups, 4)).all()


def test_of_equally_many_the_nearer_decide() -> None:
    angles = np.array([0.0, 0.1, -0.12, np.pi, np.pi + 0.1])
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    votes = left_out_votes(features - features.mean(0), np.array([0, 0, 1, 1, 0]), 2, neighbours=2)
    assert votes[0].argmax() == 0


def test_a_copy_in_the_same_group_does_not_vote() -> None:
    features = np.array([[1.0, 0.0], [1.0, 0.0], [0.9, 0.1], [-1.0, 0.0]])
    labels, groups = np.array([0, 0, 1, 1]), np.array([0, 0, 1, 2])
    assert left_out_votes(features, labels, 2, groups=groups, neighbours=1)[0].argmax() == 1


def test_all_vote_where_there_are_fewer() -> None:
    votes = left_out_votes(np.eye(3), np.array([0, 1, 1]), 2)
    assert (np.round(votes.sum(1)) == 2).all()
