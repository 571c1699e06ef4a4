"""Mirror images teach a solved head where it is better on pictures left out."""

import numpy as np
import pytest

from thawline.training.solve.choice import deciding_rows
from thawline.training.solve.mirrored import MOST_PICTURES, mirror_images_teach
from thawline.training.solve.targets import Targets

CLASSES, COLUMNS = 3, 60


def seen(labels: np.ndarray, seed: int, noise: float = 3.0) -> np.ndarray:
    """Return columns that tell the classes apart but for noise, another one for each seed."""
    middle = np.random.default_rng(99).normal(size=(CLASSES, COLUMNS))
    return middle[labels] + noise * np.random.default_rng(seed).normal(size=(len(labels), COLUMNS))


@pytest.fixture
def labels() -> np.ndarray:
    # class after class, as the pictures of a data set are
    return np.repeat(np.arange(CLASSES), 30)


def targets_of(labels: np.ndarray, named: bool) -> Targets:
    """Return targets whose rows are `named` pictures, as those of a data set are."""
    return Targets(labels, CLASSES, pictures=np.arange(len(labels)) if named else None)


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_another_look_at_the_same_classes_teaches(labels: np.ndarray, seed: int, named: bool) -> None:
    targets = targets_of(labels, named)
    assert mirror_images_teach([seen(labels, seed)], [seen(labels, 50 + seed)], targets)


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_images_that_look_like_another_class_do_not(labels: np.ndarray, seed: int, named: bool) -> None:
    turned = (labels + (labels < 2)) % 2 + 2 * (labels == 2)
    assert set(zip(labels, turned, strict=True)) == {(0, 1), (1, 0), (2, 2)}
    pictures = [seen(labels, seed, 1.0)]
    assert not mirror_images_teach(pictures, [seen(turned, 50 + seed, 1.0)], targets_of(labels, named))


def test_images_that_say_nothing_of_their_class_do_not(labels: np.ndarray) -> None:
    nothing = np.random.default_rng(7).normal(size=(len(labels), COLUMNS))
    assert not mirror_images_teach([seen(labels, 0, 1.0)], [nothing], Targets(labels, CLASSES))


def test_where_nothing_can_be_left_out_nothing_says_that_they_help() -> None:
    labels = np.arange(CLASSES)
    assert not mirror_images_teach([seen(labels, 0)], [seen(labels, 1)], Targets(labels, CLASSES))


def test_of_many_pictures_some_decide() -> None:
    labels = np.arange(2 * MOST_PICTURES) % CLASSES
    targets = Targets(labels, CLASSES)
    pictures, mirrored = seen(labels, 0, 9.0), seen(labels, 1, 9.0)
    others = np.setdiff1d(np.arange(len(labels)), deciding_rows(targets, 0, MOST_PICTURES))
    assert len(others) >= MOST_PICTURES - 1
    mirrored[others] = np.nan
    assert mirror_images_teach([pictures], [mirrored], targets)


def test_a_picture_and_its_mirror_image_count_as_one(labels: np.ndarray) -> None:
    groups, guessed = labels // 2, labels == 1
    targets = Targets(labels, CLASSES, groups=groups, guessed=guessed)
    both, count = targets.of_variants(2), len(labels)
    assert both.weights.sum() == targets.weights.sum()
    assert np.array_equal(both.together[:count], both.together[count:])
    for name in ("labels", "groups", "guessed"):
        assert np.array_equal(getattr(both, name)[count:], getattr(targets, name))
