"""Validation for sets too small to hold much back: cross-validation, and when to choose it."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from thawline.config.choices import ValidationName
from thawline.config.errors import UserError

FEW = 500
"""Fewer pictures than this, test pictures apart, are cross-validated."""
FOLDS = 5


@dataclass(frozen=True, eq=False)
class Fold:
    """Rows to train on and rows to validate on, both increasing; together they are all rows."""

    train: np.ndarray
    val: np.ndarray


def folds(
    labels: np.ndarray,
    groups: np.ndarray | None = None,
    *,
    count: int = FOLDS,
    repeat: int = 0,
    seed: int = 0,
) -> list[Fold]:
    """Return `count` folds: stratified cross-validation, in which every row is validated on once.

    Each fold has about the same share of every class; rows of one group are never separated.

    Args:
        labels: (N,) of everything that is not test.
        groups: (N,) or None: every row on its own. With groups the shares are as even as groups allow.
        repeat: which repetition; each is shuffled anew.
        seed: decides every shuffle.

    Raises UserError where there are too few pictures or groups for `count` folds, and where some fold's
    training pictures lack a class.
    """
    labels = np.asarray(labels)
    things = "pictures" if groups is None else "groups of pictures"
    have = len(labels) if groups is None else len(np.unique(groups))
    largest = max(per_class(labels, groups))
    if count < 2 or have < count or largest < count:
        raise UserError(
            f"{count} folds are impossible with {have} {things}, at most {largest} of one class.\n"
            f"  allowed: from 2 to {min(have, largest)} folds; or search.validation=holdout"
        )
    found = [Fold(*rows) for rows in _splits(labels, groups, count, seed, repeat)]
    for fold in found:
        _require_classes(labels, fold.train, things)
    return found


def most_folds(labels: np.ndarray, groups: np.ndarray | None, count: int, seed: int = 0) -> int:
    """Return how many folds there can be, at most `count`; 1 where pictures can only be held out, because all
    of a class would be in one fold. Arguments as for `folds`."""
    numbers = per_class(labels, groups)
    count = min(count, max(numbers)) if min(numbers) >= 2 else 1
    if groups is None:
        return count
    # groups of several classes may leave no way to divide them that keeps each class on both sides
    return next((each for each in range(count, 1, -1) if _can_be(labels, groups, each, seed)), 1)


def _can_be(labels: np.ndarray, groups: np.ndarray, count: int, seed: int) -> bool:
    try:
        folds(labels, groups, count=count, seed=seed)
    except UserError:
        return False
    return True


def _splits(
    labels: np.ndarray, groups: np.ndarray | None, count: int, seed: int, repeat: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    # takes two seconds to import, which a search that holds pictures out does not need
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    state = int(np.random.SeedSequence([seed, repeat]).generate_state(1)[0])
    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    splitter = kind(count, shuffle=True, random_state=state)
    with warnings.catch_warnings():
        # a class with fewer pictures than folds is validated on in some of them only
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        return list(splitter.split(np.zeros(len(labels)), labels, groups))


def per_class(labels: np.ndarray, groups: np.ndarray | None = None) -> list[int]:
    """Return how many pictures, or groups, each class has, in the order of the classes."""
    own = np.arange(len(labels)) if groups is None else np.asarray(groups)
    return [len(np.unique(own[labels == label])) for label in np.unique(labels)]


def _require_classes(labels: np.ndarray, train: np.ndarray, things: str) -> None:
    lacking = np.setdiff1d(labels, labels[train])
    if len(lacking):
        raise UserError(
            f"cross-validation would leave no training pictures of class {lacking[0]} in one fold: "
            f"it has too few {things}.\n  Add some, or use search.validation=holdout."
        )


def stitched(parts: Sequence[Fold], values: Sequence[np.ndarray]) -> np.ndarray:
    """Return (N, ...) in picture order from the values of each fold's `val` rows."""
    result = np.full((len(parts[0].train) + len(parts[0].val), *values[0].shape[1:]), np.nan)
    for part, value in zip(parts, values, strict=True):
        result[part.val] = value
    if np.isnan(result).any():
        raise ValueError("some pictures were never validated on: a fold is missing, or a value is NaN")
    return result


@dataclass(frozen=True)
class Validation:
    """The way trials are validated. `folds` is 1 for a held-out part; `reason` is a sentence."""

    kind: Literal["holdout", "kfold"]
    folds: int
    reason: str


def validation_by(
    asked: ValidationName, images: int, held_out: int, rarest: int, count: int = FOLDS
) -> Validation:
    """Return the way to validate that was asked for; arguments after `asked` as of `validation_of`."""
    if asked is ValidationName.auto:
        return validation_of(images, held_out, rarest, count)
    if asked is ValidationName.holdout:
        told = f"{held_out:,} held-out pictures tell an accuracy of 90 % to within {_points(held_out)} points"
        return Validation("holdout", 1, f"Validated on a held-out part, as search.validation says: {told}.")
    told = f"all {images:,} pictures tell an accuracy of 90 % to within {_points(images)} points"
    reason = f"Validated by {count}-fold cross-validation, as search.validation says: {told}."
    return Validation("kfold", count, f"{reason} Each trial takes {count} trainings.")


def validation_of(images: int, held_out: int, rarest: int, count: int = FOLDS) -> Validation:
    """Return the default way to validate: fewer than `FEW` pictures are cross-validated, unless more than a
    third of them are held out anyway.

    Once over only: where several seeds are trained, each takes its own repetition.

    Args:
        images: pictures that are not test, training and validation ones together.
        held_out: how many of them a held-out part would be.
        rarest: pictures (or groups) of the rarest class; with fewer than 2 folds are impossible.
        count: folds, where each class has as many.
    """
    told = f"{held_out:,} held-out pictures tell an accuracy of 90 % to within {_points(held_out)} points"
    if images >= FEW:
        return Validation("holdout", 1, f"Validated on a held-out part of {images:,} pictures: {told}.")
    if rarest < 2:
        why = "some class is too small to be divided into folds"
        return Validation("holdout", 1, f"Validated on a held-out part, because {why}; {told}.")
    if 3 * held_out > images:
        why = f"because it is more than a third of {images:,} pictures, and a fold would train on many more"
        return Validation(
            "holdout",
            1,
            f"Validated on a held-out part, {why} pictures than the final fine-tuning does; {told}.",
        )
    count = min(count, rarest)
    return Validation(
        "kfold",
        count,
        f"Validated by {count}-fold cross-validation, because {images:,} pictures are few: {told}, "
        f"all {images:,} to within {_points(images)}. Each trial takes {count} trainings.",
    )


def _points(images: int) -> str:
    """Return half the width of the 95 % interval of an accuracy of 90 %, in points."""
    return f"{196 * math.sqrt(0.09 / max(images, 1)):.0f}"
