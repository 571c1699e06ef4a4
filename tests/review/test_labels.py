"""Which labels are taken for wrong, and in which order they are shown."""

import numpy as np
import pytest

from thawline.review.labels import ranking


def test_confident_learning_takes_those_for_wrong_that_are_as_sure_as_the_other_class() -> None:
    """What a class gives its own pictures in the mean is what it has to give others: 0.65 for class 0,
    0.85 for class 1. It gives more to two pictures called 0; class 0 gives less to one called 1."""
    of_one = np.array([0.04, 0.05, 0.06, 0.05, 0.95, 0.97, 0.9, 0.96, 0.95, 0.4, 0.93, 0.95])
    labels = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1])
    found = ranking(labels, np.stack([1 - of_one, of_one], axis=1))
    assert found.doubtful == 2
    assert list(found.order[:2]) == [5, 4]
    # then the others, by how much more the other class is given
    assert found.order[2] == 9
    assert found.confidence[found.order[:2]] == pytest.approx([0.97, 0.95])
    assert list(found.likelier) == list(1 - labels)
    assert sorted(found.order) == list(range(12))


def test_flipped_labels_come_first() -> None:
    generator = np.random.default_rng(0)
    truth = np.arange(300) % 3
    said = np.full((300, 3), 0.05) + 0.85 * np.eye(3)[truth] + generator.uniform(0, 0.03, (300, 3))
    said /= said.sum(1, keepdims=True)
    flipped = generator.choice(300, 15, replace=False)
    labels = truth.copy()
    labels[flipped] = (labels[flipped] + 1) % 3
    found = ranking(labels, said)
    assert set(found.order[:15]) == set(flipped)
    assert found.doubtful <= 15
    assert list(found.likelier[flipped]) == list(truth[flipped])


@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 0, 2, 2]])
def test_classes_without_pictures_are_no_obstacle(labels: list[int]) -> None:
    said = 0.05 + 0.85 * np.eye(3)[labels]
    assert ranking(np.array(labels), said).doubtful == 0
