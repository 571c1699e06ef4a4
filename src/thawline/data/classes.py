"""Which classes can be learnt and tested on with the pictures that are left, and what was lost of each."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from thawline.config.sections import DataSet
from thawline.data.losses import Losses
from thawline.data.problems import Problem, Severity
from thawline.wording import counted

NOTED_SHARE = 0.1
"""Share of a class's pictures above which losing them is said."""


@dataclass(frozen=True)
class Pool:
    """The pictures to choose from: labels, splits (empty where left out) and clusters, which never come
    apart, `(n,)` each; what has to stay where it is given is one cluster. `apart` returns what clusters there
    would be if looking alike did not count."""

    labels: np.ndarray
    names: np.ndarray
    clusters: np.ndarray
    apart: Callable[[], np.ndarray]

    def of(self, label: str, split: str | None = None) -> np.ndarray:
        """Return the rows of a class's pictures that are left, of one split or of all."""
        wanted = self.names != "" if split is None else self.names == split
        return np.flatnonzero((self.labels == label) & wanted)


@dataclass(frozen=True)
class Needed:
    """Training pictures that each class must have for what is taken from them: `{"train": 1, "test": 1}`."""

    pictures: Mapping[str, int]
    data: DataSet
    section: str

    def __str__(self) -> str:
        return " + ".join(f"{count} {name}" for name, count in self.pictures.items())

    @property
    def total(self) -> int:
        return sum(self.pictures.values())

    @property
    def parts(self) -> int:
        """Return in how many splits training pictures end up."""
        return len(self.pictures)


def check_classes(pool: Pool, losses: Losses, needed: Needed) -> tuple[list[Problem], dict[str, str]]:
    """Return what is wrong with the classes, and why some of them, by name, cannot be used.

    A class cannot be used where nothing is left of it, nothing to train on, or too little for all splits: an
    error, or a warning where `allow_missing_classes`. So is fewer than two classes, in any case an error.
    """
    unusable = dict(_unusable(pool, losses, needed))
    usable = sorted({*pool.labels[pool.names != ""].tolist()} - unusable.keys())
    allowed = needed.data.allow_missing_classes
    problems = [
        Problem(
            Severity.warning if allowed else Severity.error,
            f"class {label}",
            f"left out: {why}" if allowed else why,
            len(pool.of(label)) + losses.count(label),
            "" if allowed else _way_out(label, pool, needed, unusable, len(usable)),
        )
        for label, why in unusable.items()
    ]
    problems += [problem for label, problem in _partly_lost(pool, losses) if label not in unusable]
    if len(usable) < 2:
        what = f"only one, {usable[0]}, can be used" if usable else "none can be used"
        way_out = "add pictures of another class, in a folder of its own."
        problems.append(Problem(Severity.error, "classes", f"{what}; two or more are needed", 0, way_out))
    return problems, unusable


def _unusable(pool: Pool, losses: Losses, needed: Needed) -> Iterator[tuple[str, str]]:
    for label in sorted({*pool.labels.tolist(), *losses.of_class}):
        found = len(pool.of(label)) + losses.count(label)
        lost = (
            f"; {losses.count(label)} of {found} are lost: {losses.said(label)}"
            if losses.count(label)
            else ""
        )
        train = pool.of(label, "train")
        parts = len(np.unique(pool.clusters[train]))
        if not found:
            yield label, "no picture: its folder is empty"
        elif not len(pool.of(label)):
            yield label, f"none of its {counted(found, 'picture')} is left: {losses.said(label)}"
        elif not len(train):
            yield label, f"no training picture, {len(pool.of(label))} of other splits{lost}"
        elif len(train) < needed.total:
            yield label, f"{counted(len(train), 'picture')}, needed are {needed}{lost}"
        elif parts < needed.parts:
            left = f"of which groups, look-alikes and given splits leave {parts} to divide"
            yield label, f"{counted(len(train), 'picture')} {left}, needed are {needed}{lost}"


def _partly_lost(pool: Pool, losses: Losses) -> Iterator[tuple[str, Problem]]:
    for label in losses.of_class:
        lost, left = losses.count(label), len(pool.of(label))
        if left and lost > NOTED_SHARE * (lost + left):
            what = f"{lost} of its {counted(lost + left, 'picture')} are left out: {losses.said(label)}"
            yield label, Problem(Severity.warning, f"class {label}", what, lost)


def _way_out(label: str, pool: Pool, needed: Needed, unusable: Mapping[str, str], usable: int) -> str:
    """Return what a person can do: settings that work, as far as there are any."""
    train = pool.of(label, "train")
    without = f", or go on without: -S {needed.section}.allow_missing_classes=true" if usable >= 2 else "."
    if not len(train):
        return f"put right what was lost, or add pictures{without}"
    if len(train) < needed.total:
        counts = [len(pool.of(short, "train")) for short in unusable]
        less = _less(min(count for count in counts if count), needed)
        return f"ask for less: {less}" if less else f"add pictures{without}"
    if len(np.unique(pool.apart()[train])) >= needed.parts:
        return f"if they show different things: -S {needed.section}.near_duplicate_bits=-1"
    return f"add pictures of other things{without}"


def _less(smallest: int, needed: Needed) -> str:
    """Return settings under which a class of `smallest` training pictures has enough; empty without any."""
    data, section = needed.data, needed.section
    others = needed.total - needed.pictures["train"]
    if data.train_per_class and smallest > others:
        return f"-S {section}.train_per_class={smallest - others}"
    val = smallest - needed.parts + 1
    if data.val_per_class and "val" in needed.pictures and val >= 1:
        train = f"-S {section}.train_per_class=1 " if data.train_per_class else ""
        return f"{train}-S {section}.val_per_class={val}"
    return ""
