"""Doubted labels count less, and no class is forgotten."""

import numpy as np

from thawline.supervise.doubt import doubted, sentence
from thawline.training.solve.logistic import logistic_head
from thawline.training.solve.targets import Targets

CLASSES = 4


def pictures(count: int, seed: int, apart: float = 2.5) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    middle = np.random.default_rng(99).normal(size=(CLASSES, 10))
    values = apart * middle[labels] + generator.normal(size=(count, 10))
    return values.astype(np.float32), labels


def test_wrong_labels_count_less_and_a_head_learns_more() -> None:
    values, truth = pictures(100, 0)
    wrong = np.random.default_rng(1).random(100) < 0.3
    noisy = np.where(wrong, (truth + 1) % CLASSES, truth)
    cuts, found = [values], doubted([values], Targets(noisy, CLASSES), 2, 0)
    assert found.doubts[wrong].mean() < 0.5
    assert found.doubts[~wrong].mean() > 0.95
    assert "more than where labels are right" in sentence(found)
    others, labels = pictures(1000, 5, apart=1.0)
    plain, weighed = (
        (
            logistic_head(cuts, Targets(noisy, CLASSES, given=given)).logits([others]).argmax(1) == labels
        ).mean()
        for given in (np.eye(CLASSES)[noisy], np.eye(CLASSES)[noisy] * found.weights[:, None])
    )
    assert weighed >= plain


def test_right_labels_keep_their_weight_and_that_is_said() -> None:
    values, truth = pictures(100, 0)
    found = doubted([values], Targets(truth, CLASSES), 2, 0)
    assert found.doubts.mean() > 0.98
    assert "where this changes little" in sentence(found) or "None of the 100 labels is doubted" in sentence(
        found
    )


def test_a_class_whose_labels_are_all_doubted_is_not_forgotten() -> None:
    values, truth = pictures(100, 0)
    # every picture of the last class shows the first one
    values[truth == 3] = pictures(100, 7)[0][truth == 0]
    found = doubted([values], Targets(truth, CLASSES), 2, 0)
    of_class = np.bincount(truth, found.weights)
    np.testing.assert_allclose(of_class, 25)
    assert (found.weights > 0).all()


def test_nothing_is_said_where_nothing_can_be_left_out() -> None:
    values, truth = pictures(4, 0)
    found = doubted([values], Targets(truth, CLASSES), 2, 0)
    assert found.weights.tolist() == [1, 1, 1, 1]
    assert sentence(found) == "None of the 4 labels is doubted: all pictures count alike."
