"""Which pictures train, which choose and which test: stratified, seeded, look-alikes kept together."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pandas as pd
from numpy.random import Generator

from thawline.config.sections import DataSet, Role
from thawline.data import duplicates
from thawline.data.classes import Needed, Pool, check_classes
from thawline.data.collection import Dropped
from thawline.data.holdout import hold_out
from thawline.data.losses import Losses
from thawline.data.problems import Problem, Severity, listed
from thawline.data.split_names import SPLITS, VOTED

_SUSPICIOUS = 0.2
"""Share of all pictures above which one near-duplicate group is more likely a plain background."""


@dataclass
class Split:
    """The decision. `names[i]` is `train`, `val`, `test`, or empty for what is left out; `groups[i]` is equal
    for pictures that whoever divides them further, or resamples them, must keep together: the group that the
    data set gives, or of pictures that look alike the path of one; empty for a picture on its own."""

    names: np.ndarray
    groups: np.ndarray
    dropped: list[Dropped] = field(default_factory=list)
    near_duplicates: list[list[str]] = field(default_factory=list)
    """Paths of the pictures that look alike, a list for each such group."""
    problems: list[Problem] = field(default_factory=list)


def split(
    pictures: pd.DataFrame,
    data: DataSet,
    role: Role,
    seed: int,
    rest_is_test: bool = False,
    losses: Losses | None = None,
) -> Split:
    """Assign every picture (rows as `Scan.pictures`) to a split.

    What the data set itself says is honoured; a missing test split (role target only) and validation split
    are taken from the pictures it puts nowhere, where it puts all somewhere from its training pictures, the
    same share of every class, never separating pictures that look alike or have the same group. Left out are:
    pictures found under two labels, training pictures that look like a given validation or test picture, and
    what exceeds `train_per_class` and `val_per_class`. The same pictures and seed give the same splits.

    What is wrong with classes is in `problems`; where one of these is an error, pictures are not divided.
    `losses`: what was lost of each class before.
    """
    names = pictures["split"].replace(["", VOTED], "train").to_numpy(str).astype("<U5")
    result = Split(names, pictures["group"].to_numpy(object))
    labels = pictures["label"].to_numpy(str)
    clusters = _clean(pictures, data, role.name, result)
    taken = _taken(labels, result.names, role)
    per_class = {"train": data.train_per_class or 1, "val": data.val_per_class or 1, "test": 1}
    needed = Needed({name: per_class[name] for name in ("train", *taken)}, data, role.name)
    apart = partial(_apart, pictures)
    label_of = dict(zip(pictures["path"], labels.tolist(), strict=True))
    losses = (losses or Losses()).plus((label_of[lost.path], lost.reason) for lost in result.dropped)
    problems, unusable = check_classes(
        Pool(labels, result.names, _fixed(pictures, clusters), apart), losses, needed
    )
    result.problems += [*problems, *_unwanted(taken, data, role.name)]
    if any(problem.severity is Severity.error for problem in result.problems):
        return result
    for label, why in unusable.items():
        rows = np.flatnonzero((labels == label) & (result.names != ""))
        _drop(result, pictures, rows, "its class is left out", [why] * len(rows))
    _divide(pictures, clusters, data, taken, rest_is_test, seed, result)
    _keep_together(pictures, clusters, result)
    _note_missing_classes(labels, result)
    return result


def _clean(pictures: pd.DataFrame, data: DataSet, section: str, result: Split) -> np.ndarray:
    """Leave out what is under two labels or looks like given validation and test pictures; return the number
    of each picture's cluster, `(n,)`."""
    _drop_conflicts(pictures, result)
    alike = duplicates.components(*compared_by(pictures, data.near_duplicate_bits))
    _list_near_duplicates(pictures, alike, section, result)
    _drop_leaks(pictures, data.near_duplicate_bits, result)
    clusters = _with_groups(alike, pictures)
    # what was voted for and is left out as a double holds no labelled picture in training
    doubles = np.flatnonzero((pictures["split"] == VOTED) & (result.names == ""))
    clusters[doubles] = clusters.max(initial=0) + 1 + np.arange(len(doubles))
    return clusters


def _taken(labels: np.ndarray, names: np.ndarray, role: Role) -> tuple[str, ...]:
    """Return the splits that are taken from the training pictures: those in which classes that can be learnt
    have been given none."""
    learnt = np.isin(labels, labels[names == "train"])
    wanted = ("val", "test") if role is Role.target else ("val",)
    return tuple(name for name in wanted if not (learnt & (names == name)).any())


def _divide(
    pictures: pd.DataFrame,
    clusters: np.ndarray,
    data: DataSet,
    taken: tuple[str, ...],
    rest_is_test: bool,
    seed: int,
    result: Split,
) -> None:
    """Take splits from the training pictures, then leave out what exceeds the numbers wanted."""
    labels = pictures["label"].to_numpy(str)
    movable = _movable(pictures, clusters)
    random = np.random.default_rng([seed, len(SPLITS)])
    # of pictures that were voted for, which are for training only, nothing is wanted
    voted = (pictures["split"] == VOTED).to_numpy()
    if "test" in taken:
        wanted = _wanted_for_test(labels, np.where(voted, "", result.names), data, rest_is_test)
        # training, and validation where it is still to come
        _hold_out("test", wanted, labels, clusters, movable, result, random, keep=1 + ("val" in taken))
    if "val" in taken:
        wanted = _wanted_for_val(labels, np.where(voted, "", result.names), data)
        _hold_out("val", wanted, labels, clusters, movable, result, random)
    _cap("train", data.train_per_class, labels, result.names, random, voted)
    _cap("val", data.val_per_class, labels, result.names, random, voted)


def _keep_together(pictures: pd.DataFrame, clusters: np.ndarray, result: Split) -> None:
    """Give pictures of one cluster that are used one group: those to test on, and all others."""
    used = pictures[result.names != ""]
    groups, paths = used["group"], used["path"]
    sides = (2 * clusters + (result.names == "test"))[used.index]
    given = groups.where(groups != "").groupby(sides).transform("min")
    of_side = paths.groupby(sides)
    several = of_side.transform("size") > 1
    found = given.fillna(of_side.transform("min")).where(several, groups)
    result.groups[used.index] = found


def _drop(result: Split, pictures: pd.DataFrame, rows: np.ndarray, reason: str, details: list[str]) -> None:
    paths = pictures["path"].to_numpy()[rows]
    result.dropped += [Dropped(path, reason, detail) for path, detail in zip(paths, details, strict=True)]
    result.names[rows] = ""


def _drop_conflicts(pictures: pd.DataFrame, result: Split) -> None:
    voted, content = pictures["split"] == VOTED, pictures["content_hash"]
    doubles = np.flatnonzero(voted & content.isin(content[~voted]))
    reason = "voted for, and the same picture has a label"
    _drop(result, pictures, doubles, reason, list(pictures["label"].to_numpy()[doubles]))
    kept = pictures[result.names != ""]
    labels = kept.groupby("content_hash")["label"].agg(lambda names: sorted(set(names)))
    named = pictures["content_hash"].map(labels)
    rows = np.flatnonzero((named.str.len() > 1) & (result.names != ""))
    _drop(
        result, pictures, rows, "the same picture has several labels", [", ".join(named[row]) for row in rows]
    )


def compared_by(pictures: pd.DataFrame, bits: int) -> tuple[np.ndarray, int]:
    """Return what to compare pictures by, and the most bits that may differ; without perceptual comparison
    only identical pixels count."""
    if bits >= 0:
        return pictures["perceptual_hash"].to_numpy(np.uint64), bits
    return pd.factorize(pictures["content_hash"])[0].astype(np.uint64), 0


def _list_near_duplicates(pictures: pd.DataFrame, alike: np.ndarray, section: str, result: Split) -> None:
    """List the paths of the pictures that look alike, and say so where they are suspiciously many."""
    used = pictures[result.names != ""]
    for _, paths in used["path"].groupby(alike[used.index]):
        if len(paths) > 1:
            result.near_duplicates.append(list(paths))
    largest = max(map(len, result.near_duplicates), default=0)
    if largest > _SUSPICIOUS * len(pictures):
        what = f"{largest} of {len(pictures)} pictures count as one near-duplicate group"
        way_out = f"if they show different things: -S {section}.near_duplicate_bits=-1"
        result.problems.append(Problem(Severity.warning, "near-duplicates", what, largest, way_out))


def _apart(pictures: pd.DataFrame) -> np.ndarray:
    """Return the clusters that there would be if only equal pixels counted as looking alike."""
    return _fixed(pictures, _with_groups(duplicates.components(*compared_by(pictures, -1)), pictures))


def _with_groups(alike: np.ndarray, pictures: pd.DataFrame) -> np.ndarray:
    """Return for each picture the number of its cluster, whose pictures must stay in one split."""
    groups = pictures["group"].to_numpy(str)
    rows = np.flatnonzero(groups != "")
    _, first, group = np.unique(groups[rows], return_index=True, return_inverse=True)
    return duplicates.merged(alike, rows, rows[first[group]])


def _movable(pictures: pd.DataFrame, clusters: np.ndarray) -> np.ndarray:
    """Return which pictures may be held out, `(n,)` bool: where some are given no split, only these, and
    never what was voted for."""
    voted = (pictures["split"] == VOTED).to_numpy()
    given = (pictures["split"] != "").to_numpy() & ~voted
    fixed = voted if given[~voted].all() else voted | given
    return ~np.isin(clusters, clusters[fixed])


def _fixed(pictures: pd.DataFrame, clusters: np.ndarray) -> np.ndarray:
    """Return the clusters, with all pictures that may not be held out in one."""
    return np.where(_movable(pictures, clusters), clusters, -1)


def _drop_leaks(pictures: pd.DataFrame, bits: int, result: Split) -> None:
    """Leave out what shows the same thing as a given validation or test picture."""
    keys, bits = compared_by(pictures, bits)
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


def _unwanted(taken: tuple[str, ...], data: DataSet, section: str) -> Iterator[Problem]:
    """Yield an error for each split of which the settings want nothing, though the data set names none."""
    if "val" in taken and not data.val_per_class and data.val_fraction == 0:
        what = "the data set names no validation pictures, and val_fraction is 0"
        yield Problem(Severity.error, "validation", what, 0, f"-S {section}.val_fraction=0.2")
    if "test" in taken and data.test_fraction == 0:
        what = "the data set names no test pictures, and test_fraction is 0"
        yield Problem(Severity.error, "test", what, 0, f"-S {section}.test_fraction=0.25")


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
    keep: int = 1,
) -> None:
    free = np.flatnonzero((result.names == "train") & movable)
    result.names[free[hold_out(labels[free], clusters[free], wanted, random, keep)]] = name
    for split_name in (name, "train"):
        short = sorted(wanted.keys() - set(labels[result.names == split_name]))
        if short:
            what = "nearly all look alike, have the same group or are given another split"
            where, way_out = f"{split_name} pictures of {listed(short)}", "add pictures of other things."
            result.problems.append(Problem(Severity.error, where, f"none are left: {what}", 0, way_out))


def _note_missing_classes(labels: np.ndarray, result: Split) -> None:
    train = set(labels[result.names == "train"])
    for name in ("val", "test"):
        present = set(labels[result.names == name])
        if present and train - present:
            what = f"no {name} pictures of {listed(sorted(train - present))}"
            result.problems.append(Problem(Severity.warning, f"{name} split", what))


def _cap(
    name: str,
    per_class: int | None,
    labels: np.ndarray,
    names: np.ndarray,
    random: Generator,
    voted: np.ndarray,
) -> None:
    """Keep `per_class` random pictures of each class of the split `name`, all where None; of what was `voted`
    for, only as many as labelled ones leave room for."""
    shuffled = random.permutation(np.flatnonzero(names == name))
    shuffled = shuffled[np.argsort(voted[shuffled], kind="stable")]
    position = pd.Series(labels[shuffled]).groupby(labels[shuffled]).cumcount().to_numpy()
    if per_class is not None:
        names[shuffled[position >= per_class]] = ""
