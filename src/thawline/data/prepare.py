"""The stage `prepare`: from a named data set to stores of decoded, split, checked pictures."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from thawline.artifacts import Artifacts
from thawline.config.errors import UserError
from thawline.config.sections import Config, DataSet, Role
from thawline.data import ranges
from thawline.data.collection import Collection
from thawline.data.decoding import Decoder
from thawline.data.losses import Losses
from thawline.data.overview import overview
from thawline.data.problems import Problem, Severity, plain, require_usable, said, worst_first
from thawline.data.scan import Scan, scan
from thawline.data.showing import write_showing
from thawline.data.split import Split, split
from thawline.data.split_names import SPLITS, VOTED
from thawline.data.store import discard_store, write_absence, write_store
from thawline.data.transform import Range, Transform
from thawline.data.unlabelled import UNLABELLED, prepare_unlabelled
from thawline.data.votes import collected, write_votes
from thawline.wording import counted

logger = logging.getLogger(__name__)


def prepare(config: Config, transform_for: Callable[[Config], Transform], artifacts: Artifacts) -> None:
    """Decode and split the data set that `config.role` names, and write its stores.

    The source goes to `source` (train and val), the target to `target` (train and val) and `test`; pictures
    without a label to `unlabelled`; what the report shows of all these, to `pictures`.
    A source that is published weights leaves a note instead of pictures. The same configuration and
    pictures give the same bytes. Raises `UserError` when the pictures are missing or do not suffice.

    transform_for: returns how pictures are shown to the network; called where there are pictures, as it may
    take seconds.
    """
    if config.role is Role.source and config.source.dataset is None:
        write_absence(artifacts.data_output("source"), "the source is published weights")
        return
    data = config.source if config.role is Role.source else config.target
    collection, ballot = collected(data, config.role, config.seed)
    for line in overview(collection, config.role):
        logger.info("%s", line)
    directory = artifacts.data_output(config.role.name).parent
    scanned, decision, transform, problems = divided(
        data, config.role, config.seed, collection, transform_for(config), directory
    )
    report = _report(data, config.role, problems, collection, scanned, decision)
    _log(report)
    parts = (
        {"source": SPLITS[:2]} if config.role is Role.source else {"target": SPLITS[:2], "test": SPLITS[2:]}
    )
    # A killed process must not leave a new target beside the test pictures of another split.
    for name in (*parts, UNLABELLED):
        discard_store(artifacts.data_output(name))
    for name, splits in parts.items():
        manifest = _write(artifacts, name, splits, scanned, decision, transform, report)
        if ballot is not None and name == "target":
            write_votes(artifacts.data_output(name), ballot, manifest)
    if config.role is Role.target:
        folder, classes = artifacts.data_output(UNLABELLED), _classes(scanned, decision)
        more = prepare_unlabelled(config.target, scanned.pictures, decision.names, classes, transform, folder)
        write_showing(artifacts.data_output("pictures"), collection, scanned, decision, report, more)


def divided(
    data: DataSet, role: Role, seed: int, collection: Collection, transform: Transform, directory: Path
) -> tuple[Scan, Split, Transform, list[Problem]]:
    """Return the pictures of `collection` decoded, the split of each, `transform` with the range of the
    training pictures, by which they were decoded, and what is wrong with them.

    How they are divided does not depend on `transform`. Raises `UserError` when the pictures do not suffice.
    """
    transform = replace(transform, range=_given(data))
    scanned = scan(collection, transform, directory, data.max_megapixels)
    setting = f"{role.name}.range"
    ranges.refuse(scanned.undefined, len(collection.items), setting)
    _require_pictures(data, role, collection, scanned)
    losses = _losses(collection, scanned)
    decision = split(scanned.pictures, data, role, seed, collection.rest_is_test, losses)
    found = _given(data) or ranges.range_of(scanned.pictures[decision.names == "train"])
    levels = list(ranges.described(scanned.pictures, decision.names, found, setting))
    problems = worst_first(_problems(collection, scanned, decision, levels))
    require_usable(problems, data.root or role.name)
    transform = replace(transform, range=found)
    scanned.settle(collection, Decoder(transform, data.max_megapixels))
    return scanned, decision, transform, problems


def _given(data: DataSet) -> Range | None:
    return None if data.range is None else (data.range[0], data.range[1])


def _require_pictures(data: DataSet, role: Role, collection: Collection, scanned: Scan) -> None:
    """Raise `UserError` where no picture is left, with what is wrong with all, or the first few reasons."""
    if not scanned.pictures.empty:
        return
    if not scanned.dropped:
        require_usable(collection.problems, data.root or role.name)
    dropped = scanned.dropped or collection.dropped
    examples = "".join(f"\n  {picture.path}: {picture.detail or picture.reason}" for picture in dropped[:3])
    done = "read" if scanned.dropped else "used"
    raise UserError(f"none of the {len(dropped)} pictures in {data.root} can be {done}:{examples}")


def _write(
    artifacts: Artifacts,
    name: str,
    splits: tuple[str, ...],
    scanned: Scan,
    decision: Split,
    transform: Transform,
    report: dict[str, Any],
) -> pd.DataFrame:
    """Write the pictures of some splits, and return what is known of them, in their order."""
    voted = (scanned.pictures["split"] == VOTED).to_numpy() & (decision.names != "")
    names = np.where(voted, VOTED, decision.names)
    # Split by split, so that the pictures of each lie next to each other.
    parts = [each for part in splits for each in ((part, VOTED) if part == "train" else (part,))]
    rows = np.concatenate([np.flatnonzero(names == part) for part in parts])
    manifest = scanned.pictures.iloc[rows].assign(split=names[rows], group=decision.groups[rows])
    directory, classes = artifacts.data_output(name), _classes(scanned, decision)
    write_store(directory, scanned.images, manifest, classes, transform, rows=rows, card=report)
    return manifest


def _classes(scanned: Scan, decision: Split) -> tuple[str, ...]:
    return tuple(sorted(set(scanned.pictures["label"][decision.names == "train"])))


def _losses(collection: Collection, scanned: Scan) -> Losses:
    """Return what was lost of each class before pictures are divided."""
    labels = {item.path: item.label for item in collection.items}
    return collection.losses.plus((labels[picture.path], picture.reason) for picture in scanned.dropped)


def _problems(
    collection: Collection, scanned: Scan, decision: Split, levels: list[Problem]
) -> Iterator[Problem]:
    """Yield all that is wrong with a data set. Of `levels`, what there is to say about black and white, only
    errors are true of pictures that could not be divided."""
    yield from collection.problems
    yield from decision.problems
    undivided = any(problem.severity is Severity.error for problem in decision.problems)
    yield from (problem for problem in levels if problem.severity is Severity.error or not undivided)
    dropped = [*collection.dropped, *scanned.dropped, *decision.dropped]
    for reason, count in Counter(picture.reason for picture in dropped).items():
        first = next(picture for picture in dropped if picture.reason == reason)
        detail = f" ({first.detail})" if first.detail else ""
        what = f"left out: {reason}; the first is {first.path}{detail}"
        yield Problem(Severity.warning, counted(count, "picture"), what, count)
    for note in collection.notes:
        yield Problem(Severity.note, "", note)


def _report(
    data: DataSet,
    role: Role,
    problems: list[Problem],
    collection: Collection,
    scanned: Scan,
    decision: Split,
) -> dict[str, Any]:
    """Return what a reader of the card wants to know about how the pictures were chosen."""
    labels = scanned.pictures["label"].to_numpy(str)
    dropped = [*collection.dropped, *scanned.dropped, *decision.dropped]
    counts = {part: dict(sorted(Counter(labels[decision.names == part].tolist()).items())) for part in SPLITS}
    used = sum(sum(of_class.values()) for of_class in counts.values())
    return {
        "dataset": data.dataset.name if data.dataset else None,
        "role": role.name,
        "counts": counts,
        "dropped": [asdict(picture) for picture in dropped],
        "not_needed": len(scanned.pictures) - len(decision.dropped) - used,
        "near_duplicate_groups": decision.near_duplicates,
        "notes": [said(problem) for problem in problems],
    }


def _log(report: dict[str, Any]) -> None:
    totals = {part: sum(of_class.values()) for part, of_class in report["counts"].items()}
    logger.info("%s: %s", report["role"], ", ".join(f"{count} {part}" for part, count in totals.items()))
    for note in report["notes"]:
        logger.warning("%s", plain(note))
