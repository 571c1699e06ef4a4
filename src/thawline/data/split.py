"""Which pictures train, which choose and which test: stratified, seeded, look-alikes kept together."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.random import Generator

from thawline.config.errors import UserError
from thawline.config.sections import DataSet, Role
from thawline.data import duplicates
from thawline.data.collection import Dropped
from thawline.data.holdout import hold_out

SPLITS = ("train", "val", "test")
_SHOWN = 10
_SUSPICIOUS = 0.2
"""Share of all pictures above which one near-duplicate group is more likely a plain background."""


@dataclass
class Split:
    """The decision. `names[i]` is `train`, `val`, `test` or, for what is left out, empty."""

    names: np.ndarray
    dropped: list[Dropped] = field(default_factory=list)
    near_duplicates: list[list[str]] = field(default_factory=list)
    """Paths of the pictures that look alike, a list for each such group."""
    notes: list[str] = field(default_factory=list)


def split(pictures: pd.DataFrame, data: DataSet, role: Role, seed: int, rest_is_test: bool = False) -> Split:
    """Assign every picture (rows as `Scan.pictures`) to a split.

    What the data set itself says is honoured; a missing test split (role target only) and validation
    split are taken from the pictures it puts nowhere, where it puts all somewhere from its training
    pictures, the same share of every class, never separating pictures that look alike or have the same
    group. Left out are: pictures found under two labels,
    training pictures that look like a given validation or test picture, and what exceeds
    `train_per_class` and `val_per_class`. The same pictures and seed give the same splits.

    Raises `UserError` when a class has too few pictures, when there are fewer than two classes, and
    when a class of another split has no training pictures.
    """
    result = Split(pictures["split"].replace("", "train").to_numpy(str).astype("<U5"))
    _drop_conflicts(pictures, result)
    clusters = _clusters(pictures, data.near_duplicate_bits, result)
    _drop_leaks(pictures, data.near_duplicate_bits, result)
    labels = pictures["label"].to_numpy(str)
    _require_classes(labels, result.names)
    wants_test = role is Role.target and not (result.names == "test").any()
    _require_enough(labels, result.names, data, wants_test)
    movable = _movable(pictures, clusters)
    random = np.random.default_rng([seed, len(SPLITS)])
    if wants_test:
        wanted = _wanted_for_test(labels, result.names, data, rest_is_test)
        _hold_out("test", wanted, labels, clusters, movable, result, random)
    if not (result.names == "val").any():
        wanted = _wanted_for_val(labels, result.names, data)
        _hold_out("val", wanted, labels, clusters, movable, result, random)
    _cap("train", data.train_per_class, labels, result.names, random)
    _cap("val", data.val_per_class, labels, result.names, random)
    _note_missing_classes(labels, result)
    return result


def _drop(result: Split, pictures: pd.DataFrame, rows: np.ndarray, reason: str, details: list[str]) -> None:
    paths = pictures["path"].to_numpy()[rows]
    result.dropped += [Dropped(path, reason, detail) for path, detail in zip(paths, details, strict=True)]
    result.names[rows] = ""


def _drop_conflicts(pictures: pd.DataFrame, result: Split) -> None:
    labels = pictures.groupby("content_hash")["label"].agg(lambda names: sorted(set(names)))
    named = pictures["content_hash"].map(labels)
    rows = np.flatnonzero(named.str.len() > 1)
    _drop(
        result, pictures, rows, "the same picture has several labels", [", ".join(named[row]) for row in rows]
    )


def _keys(pictures: pd.DataFrame, bits: int) -> tuple[np.ndarray, int]:
    """Return what to compare pictures by, and the most bits that may differ; without perceptual comparison
    only identical pixels count."""
    if bits >= 0:
        return pictures["perceptual_hash"].to_numpy(np.uint64), bits
    return pd.factorize(pictures["content_hash"])[0].astype(np.uint64), 0


def _clusters(pictures: pd.DataFrame, bits: int, result: Split) -> np.ndarray:
    """Return for each picture the number of its cluster, whose pictures must stay in one split."""
    alike = duplicates.components(*_keys(pictures, bits))
    used = pictures[result.names != ""]
    for _, paths in used["path"].groupby(alike[used.index]):
        if len(paths) > 1:
            result.near_duplicates.append(list(paths))
    largest = max(map(len, result.near_duplicates), default=0)
    if largest > _SUSPICIOUS * len(pictures):
        result.notes.append(
            f"{largest} of {len(pictures)} pictures count as one near-duplicate group; "
            "if they are not, lower near_duplicate_bits"
        )
    groups = pictures["group"].to_numpy(str)
    rows = np.flatnonzero(groups != "")
    _, first, group = np.unique(groups[rows], return_index=True, return_inverse=True)
    return duplicates.merged(alike, rows, rows[first[group]])


def _movable(pictures: pd.DataFrame, clusters: np.ndarray) -> np.ndarray:
    """Return which pictures may be held out, `(n,)` bool: where some are given no split, only these."""
    given = (pictures["split"] != "").to_numpy()
    return np.ones(len(given), bool) if given.all() else ~np.isin(clusters, clusters[given])


def _drop_leaks(pictures: pd.DataFrame, bits: int, result: Split) -> None:
    """Leave out what shows the same thing as a given validation or test picture."""
    keys, bits = _keys(pictures, bits)
    groups, paths = pictures["group"].to_numpy(str), pictures["path"].to_numpy()
    for name, other in (("val", "test"), ("train", "test"), ("train", "val")):
        rows, given = np.flatnonzero(result.names == name), np.flatnonzero(result.names == other)
        seen = duplicates.first_within(keys[rows], keys[given], bits)
        alike = np.flatnonzero(seen >= 0)
        reason = f"a {name} picture that looks like a given {other} picture"
        _drop(result, pictures, rows[alike], reason, list(paths[given[seen[alike]]]))
        grouped = rows[np.isin(groups[rows], np.setdiff1d(groups[given], [""])) & (seen < 0)]
        reason = f"a {name} picture whose group has given {other} pictures"
        _drop(result, pictures, grouped, reason, list(groups[grouped]))


def _require_classes(labels: np.ndarray, names: np.ndarray) -> None:
    train, used = set(labels[names == "train"]), set(labels[names != ""])
    if used - train:
        raise UserError(
            f"no training pictures of {_listed(sorted(used - train))}.\n"
            f"  Classes with training pictures: {_listed(sorted(train))}."
        )
    if len(train) < 2:
        raise UserError(f"only one class found: {_listed(sorted(train))}.\n  A classifier needs two or more.")


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown


def _require_enough(labels: np.ndarray, names: np.ndarray, data: DataSet, wants_test: bool) -> None:
    """Raise unless every class has as many free pictures as the requested splits take from it."""
    needed = {"train": data.train_per_class or 1}
    if not (names == "val").any():
        needed["val"] = data.val_per_class or 1
        if not data.val_per_class and data.val_fraction == 0:
            raise UserError("no validation pictures: the data set names none and val_fraction is 0.")
    if wants_test:
        needed["test"] = 1
        if data.test_fraction == 0:
            raise UserError("no test pictures: the data set names none and test_fraction is 0.")
    counts = pd.Series(labels[names == "train"]).value_counts(sort=False)
    short = counts[counts < sum(needed.values())].sort_index()
    if len(short):
        raise UserError(
            f"too few pictures for {' + '.join(f'{n} {name}' for name, n in needed.items())} of each class: "
            f"{_listed([f'{label} has {count}' for label, count in short.items()])}.\n"
            "  Add pictures or lower train_per_class or val_per_class."
        )


def _per_class(labels: np.ndarray, names: np.ndarray) -> dict[str, int]:
    classes, counts = np.unique(labels[names == "train"], return_counts=True)
    return dict(zip(classes.tolist(), counts.tolist(), strict=True))


def _wanted_for_val(labels: np.ndarray, names: np.ndarray, data: DataSet) -> dict[str, int]:
    return {
        label: data.val_per_class or max(round(data.val_fraction * count), 1)
        for label, count in _per_class(labels, names).items()
    }


def _wanted_for_test(
    labels: np.ndarray, names: np.ndarray, data: DataSet, rest_is_test: bool
) -> dict[str, int]:
    wanted = {}
    for label, count in _per_class(labels, names).items():
        train = data.train_per_class or 1
        val = data.val_per_class or max(round(train * data.val_fraction / (1 - data.val_fraction)), 1)
        share = 1.0 if rest_is_test and data.train_per_class else data.test_fraction
        wanted[label] = max(min(round(share * count), count - train - val), 1)
    return wanted


def _hold_out(
    name: str,
    wanted: dict[str, int],
    labels: np.ndarray,
    clusters: np.ndarray,
    movable: np.ndarray,
    result: Split,
    random: Generator,
) -> None:
    free = np.flatnonzero((result.names == "train") & movable)
    result.names[free[hold_out(labels[free], clusters[free], wanted, random)]] = name
    for split_name in (name, "train"):
        short = sorted(wanted.keys() - set(labels[result.names == split_name]))
        if short:
            hint = "".join(f"\n  {note}." for note in result.notes)
            raise UserError(
                f"no {split_name} pictures of {_listed(short)} are left, because nearly all look alike, "
                f"have the same group or are given another split.{hint}\n"
                "  Add other pictures, or lower near_duplicate_bits."
            )


def _note_missing_classes(labels: np.ndarray, result: Split) -> None:
    train = set(labels[result.names == "train"])
    for name in ("val", "test"):
        present = set(labels[result.names == name])
        if present and train - present:
            result.notes.append(f"no {name} pictures of {_listed(sorted(train - present))}")


def _cap(name: str, per_class: int | None, labels: np.ndarray, names: np.ndarray, random: Generator) -> None:
    """Keep `per_class` random pictures of each class of the split `name`, all where None."""
    shuffled = random.permutation(np.flatnonzero(names == name))
    position = pd.Series(labels[shuffled]).groupby(labels[shuffled]).cumcount().to_numpy()
    if per_class is not None:
        names[shuffled[position >= per_class]] = ""
