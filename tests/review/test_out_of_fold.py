"""Heads are asked about pictures that did not teach them, and growing parts of the others teach."""

import numpy as np
import pytest

from thawline.review.out_of_fold import OutOfFold, out_of_fold
from thawline.training.solve.features import rotated, standardised
from thawline.training.solve.targets import Targets


def asked(
    values: np.ndarray, labels: np.ndarray, share: float = 1.0, groups: np.ndarray | None = None
) -> OutOfFold | None:
    rows = rotated(standardised([values]).rows)[0]
    targets = Targets(labels, int(labels.max()) + 1, groups=groups)
    return out_of_fold(rows, values.shape[1], targets, share, repeats=3, seed=1)


@pytest.fixture
def noise() -> tuple[np.ndarray, np.ndarray]:
    """60 pictures of 3 classes that tell nothing."""
    return np.random.default_rng(0).normal(size=(60, 100)), np.arange(60) % 3


def test_labels_that_features_do_not_tell_are_guessed(noise: tuple[np.ndarray, np.ndarray]) -> None:
    values, labels = noise
    found = asked(values, labels)
    assert found is not None
    assert found.probabilities.shape == (3, 60, 3)
    assert found.probabilities.sum(2) == pytest.approx(1)
    # 100 columns separate 60 pictures exactly: had a picture taught its own head, all would be right
    assert found.correct(labels).mean() < 0.55


def test_pictures_of_a_group_do_not_teach_about_each_other(noise: tuple[np.ndarray, np.ndarray]) -> None:
    values, labels = noise
    twins, groups = np.concatenate([values, values]), np.tile(np.arange(60), 2)
    twice = np.tile(labels, 2)
    apart, together = asked(twins, twice), asked(twins, twice, groups=groups)
    assert apart is not None
    assert together is not None
    assert together.correct(twice).mean() < 0.6 < 0.8 < apart.correct(twice).mean()


def test_a_share_of_the_others_teaches_and_knows_less() -> None:
    generator = np.random.default_rng(2)
    labels = np.arange(120) % 4
    values = generator.normal(size=(120, 20)) + 1.5 * np.eye(4)[labels] @ generator.normal(size=(4, 20))
    few, all_ = asked(values, labels, 0.15), asked(values, labels)
    assert few is not None
    assert all_ is not None
    assert (few.pictures, all_.pictures) == (pytest.approx(0.15 * 96, abs=1), pytest.approx(96))
    assert few.correct(labels).mean() < all_.correct(labels).mean()


def test_the_smallest_share_still_has_a_group_of_each_class() -> None:
    # groups of 20: a tenth of the others is less than one of each class
    labels, groups = np.repeat(np.arange(3), 80), np.arange(240) // 20
    found = asked(np.eye(3)[labels] + 1e-3 * np.arange(240)[:, None], labels, 0.1, groups)
    assert found is not None
    assert found.correct(labels).mean() == 1


def test_where_no_class_has_two_pictures_nothing_can_be_asked() -> None:
    assert asked(np.eye(3), np.arange(3)) is None
