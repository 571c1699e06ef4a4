"""Heads look at all pictures, and say nothing of those whose class nobody else taught them."""

import numpy as np
import pytest

from thawline.review import heads
from thawline.review.heads import Look, look
from thawline.review.labels import ranking
from thawline.training.solve.targets import Targets


def looked(labels: np.ndarray, groups: np.ndarray | None = None) -> Look:
    values = np.random.default_rng(0).normal(size=(len(labels), 8)) + 4 * np.eye(8)[labels]
    found = look([values], Targets(labels, int(labels.max()) + 1, groups=groups), 2, 0)
    assert found is not None
    return found


def test_a_class_of_one_group_is_not_taken_for_wrong() -> None:
    labels = np.repeat([0, 1, 2], [30, 30, 6])
    groups = np.where(labels == 2, 1000, np.arange(66))
    found = looked(labels, groups)
    assert np.array_equal(found.taught, labels != 2)
    # heads that never saw the class find another one likelier
    assert not (found.probabilities.argmax(1) == labels)[labels == 2].any()
    assert ranking(labels, found.probabilities, found.taught).doubtful == 0


def test_of_many_pictures_parts_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "MOST", 40)
    labels = np.repeat([0, 1, 2], [50, 50, 2])
    found = looked(labels)
    assert found.taught[:100].all()
    assert found.probabilities[:100].argmax(1).tolist() == labels[:100].tolist()
    assert ranking(labels, found.probabilities, found.taught).doubtful == 0
    assert len(found.rows) < 50
