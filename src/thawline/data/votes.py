"""Votes: what annotators and labelling functions call pictures that have no label of their own.

A label that the data set itself gives is true, and stays. Pictures without one have the label that voters
give them together; what each of them is taught as is decided later, by the stage `supervise`, from the same
votes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from thawline.artifacts import VOTES, read_json, write_json
from thawline.config.composition import located
from thawline.config.sections import DataSet, Role, Target
from thawline.config.supervision import is_voted
from thawline.data.collection import Collection, Dropped, find_alike
from thawline.data.groups import Finder
from thawline.data.labelling import answers
from thawline.data.names import normal
from thawline.data.problems import Problem, Severity, listed
from thawline.data.sources import collect
from thawline.data.split_names import VOTED
from thawline.data.text_tables import TextTableError, read_rows
from thawline.wording import counted


@dataclass(frozen=True, eq=False)
class Votes:
    """What `voters` (V) say: `said` (N, V) is the number of a class, -1 where a voter abstains. `known` (N,)
    is True for pictures whose label is not made of votes."""

    voters: tuple[str, ...]
    said: np.ndarray
    known: np.ndarray


@dataclass(frozen=True)
class Ballot:
    """What each of `voters` calls each picture, by its path, empty where he abstains; and the pictures whose
    label was there `before`."""

    voters: tuple[str, ...]
    said: dict[str, tuple[str, ...]]
    before: frozenset[str]


def collected(data: DataSet, role: Role, seed: int) -> tuple[Collection, Ballot | None]:
    """Return the pictures of a data set as everyone who divides or counts them sees them, and the votes: see
    `with_votes`. Raises `UserError` when they are not where the configuration says."""
    return with_votes(collect(data, role, seed), data)


def with_votes(collection: Collection, data: DataSet) -> tuple[Collection, Ballot | None]:
    """Return the pictures with labels made of votes where they have none, and the votes; as they are, and
    None, where nobody votes.

    Where some pictures have labels of their own, those without are for training only: nothing is measured by
    what was voted for. Pictures without label and vote are left out. What is wrong with the votes is among
    the collection's problems.
    """
    if not isinstance(data, Target) or not is_voted(data):
        return collection, None
    names = [item.path for item in collection.items]
    columns: dict[str, list[str]] = {}
    problems: list[Problem] = []
    if data.votes is not None:
        columns, problems = _read(located(data.votes), names)
    if data.labelling is not None:
        columns |= answers(data.labelling, collection)
    labels = {item.label for item in collection.items if item.label}
    classes = sorted(labels or {said for column in columns.values() for said in column if said})
    problems += _outside(columns, names, classes) if labels else find_alike(classes)
    before = [bool(item.label) for item in collection.items]
    said = _numbers(columns, classes)
    voted = _labels(collection, said, classes)
    there = [position for position, label in enumerate(voted) if label]
    split = VOTED if labels else ""
    items = tuple(
        collection.items[each]
        if before[each]
        else replace(collection.items[each], label=voted[each], split=split)
        for each in there
    )
    silent = [
        Dropped(name, "no label and no vote") for name, label in zip(names, voted, strict=True) if not label
    ]
    ballot = Ballot(
        tuple(columns),
        {names[each]: tuple(column[each] for column in columns.values()) for each in there},
        frozenset(names[each] for each in there if before[each]),
    )
    found = replace(
        collection,
        items=items,
        open=lambda position: collection.open(there[position]),
        dropped=(*collection.dropped, *silent),
        problems=(*collection.problems, *problems, *_measured_by(labels, len(there) - sum(before))),
    )
    return found, ballot


def write_votes(folder: Path, ballot: Ballot, manifest: pd.DataFrame) -> None:
    """Write votes.json: what was said of the pictures of `manifest`, in their order."""
    paths = list(manifest["path"])
    write_json(
        folder / VOTES,
        {
            "voters": list(ballot.voters),
            "said": [list(ballot.said[path]) for path in paths],
            "known": [path in ballot.before for path in paths],
        },
    )


def read_votes(folder: Path, classes: Sequence[str]) -> Votes | None:
    """Read votes.json; None where nobody voted. Classes that are left out were not voted for."""
    if not (folder / VOTES).exists():
        return None
    found = read_json(folder / VOTES)
    columns = dict(enumerate(zip(*found["said"], strict=True)))
    return Votes(tuple(found["voters"]), _numbers(columns, classes), np.array(found["known"], bool))


def _read(path: Path, names: Sequence[str]) -> tuple[dict[str, list[str]], list[Problem]]:
    """Return what each voter of the table says of each of the pictures, in order, and what is wrong."""
    try:
        rows = [fields for _, fields in read_rows(path.read_bytes(), ("path",), None)]
    except OSError as error:
        what = f"cannot be read ({error.strerror})"
        return {}, [Problem(Severity.error, str(path), what, len(names), "correct target.votes.")]
    except TextTableError as error:
        return {}, [Problem(Severity.error, path.name, error.what, len(names), error.way_out)]
    voters = [name for name in (rows[0] if rows else {}) if name != "path"]
    if "" in voters:
        what, way_out = "has the wrong columns (unknown: (no name))", "name the column, or remove it."
        return {}, [Problem(Severity.error, path.name, what, len(names), way_out)]
    if not voters:
        what = "has no votes: a column for each voter, beside the column path, and a row for each picture"
        return {}, [Problem(Severity.error, path.name, what, len(names), "add a column for each voter.")]
    finder = Finder(names, [path.parent.name])
    columns = {voter: dict[str, str]() for voter in voters}
    unknown, twice = [], []
    for row in rows:
        name = finder.find(row["path"])
        if name is None:
            unknown.append(row["path"])
        elif name in columns[voters[0]]:
            twice.append(name)
        else:
            for voter in voters:
                columns[voter][name] = normal(row[voter])
    return {voter: [said.get(name, "") for name in names] for voter, said in columns.items()}, [
        *_misfits(
            path.name, "votes for pictures that are not there", unknown, "correct or remove these rows."
        ),
        *_misfits(path.name, "several rows of one picture", twice, "leave one row of each picture."),
    ]


def _misfits(where: str, what: str, names: list[str], way_out: str) -> Iterator[Problem]:
    if names:
        yield Problem(Severity.error, where, f"{what}: {listed(names)}", len(names), way_out)


def _outside(
    columns: dict[str, list[str]], names: Sequence[str], classes: Sequence[str]
) -> Iterable[Problem]:
    """Yield an error for each voter who names what is no class of the labelled pictures."""
    for voter, column in columns.items():
        other = [position for position, said in enumerate(column) if said and said not in classes]
        if other:
            cases = [f"{column[each]!r} ({names[each]})" for each in other]
            what = f"labels that are no classes: {listed(cases)}; classes are {listed(list(classes))}"
            yield Problem(Severity.error, f"voter {voter}", what, len(other), "correct these votes.")


def _measured_by(labels: set[str], voted: int) -> Iterator[Problem]:
    if labels:
        what = f"{counted(voted, 'picture')} without a label are for training, as what voters say"
        yield Problem(Severity.note, "votes", what, voted)
    else:
        what = (
            "no picture has a label of its own, so test labels, too, are what voters agree on: accuracy is "
            "agreement with them"
        )
        way_out = "label some pictures, and give the others' votes."
        yield Problem(Severity.warning, "votes", what, voted, way_out)


def _numbers(columns: Mapping[Any, Sequence[str]], classes: Sequence[str]) -> np.ndarray:
    """Return (N, V): the number of each class that is named, -1 for what is none."""
    number = {name: position for position, name in enumerate(classes)}
    return np.array([[number.get(said, -1) for said in column] for column in columns.values()]).T


def _labels(collection: Collection, said: np.ndarray, classes: Sequence[str]) -> list[str]:
    """Return the label of each picture: its own, else what voters say together of those that have none, empty
    where none voted. Labels that are known have no part in it: some will be those of test pictures."""
    found = [item.label for item in collection.items]
    asked = np.flatnonzero([not label for label in found])
    if not said.size or not classes or not len(asked):
        return found
    # statistics load scipy's functions, which nothing else of this stage needs
    from thawline.statistics.votes import consensus, copies, joined

    votes = said[asked]
    best = consensus(joined(votes, copies(votes, len(classes))), len(classes)).argmax(1)
    for each in np.flatnonzero(votes.max(1) >= 0):
        found[asked[each]] = classes[best[each]]
    return found
