"""Pictures without a label, `target.unlabelled`: decoded once, none of them the double of a labelled one."""

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from thawline.config.composition import located
from thawline.config.errors import UserError
from thawline.config.paths import shown
from thawline.config.pictures import Target
from thawline.data import duplicates
from thawline.data.collection import Collection, Dropped, Item
from thawline.data.decoding import Decoder
from thawline.data.files import open_files
from thawline.data.picture_files import EXTENSIONS, open_picture, pictures_in
from thawline.data.problems import plain
from thawline.data.scan import scan
from thawline.data.split import compared_by
from thawline.data.split_names import SPLITS
from thawline.data.store import write_absence, write_store
from thawline.data.transform import Transform
from thawline.wording import counted

log = logging.getLogger(__name__)

UNLABELLED = "unlabelled"
"""The store's name, and the split of all that is in it."""
ABSENT = "target.unlabelled is null"
_GROUPED = "group"
_DOUBLES = {
    _GROUPED: "its group has validation or test pictures",
    "test": "it looks like a test picture",
    "val": "it looks like a validation picture",
    "train": "it looks like a training picture",
    "": "it looks like another unlabelled picture",
}


def prepare_unlabelled(
    data: Target,
    labelled: pd.DataFrame,
    names: np.ndarray,
    classes: tuple[str, ...],
    transform: Transform,
    folder: Path,
) -> tuple[Dropped, ...]:
    """Write the store of the unlabelled pictures to `folder`, or that there are none; return what was left
    out.

    A picture that looks like one of a labelled split is left out, or like one of no split whose group has
    validation or test pictures, and of several that look alike the first stays. Nothing is kept of those that
    look like a test picture but their number and names.

    Args:
        labelled: rows as `Scan.pictures`, of the labelled pictures, and `names` (N,) their splits.
        classes: of the target.
        transform: as it shows the labelled pictures, black and white included.

    Raises `UserError` where there is no such folder or archive, and where no picture in it is left.
    """
    if data.unlabelled is None:
        write_absence(folder, ABSENT)
        return ()
    collection = _collected(data.unlabelled)
    scanned = scan(collection, transform, folder.parent, data.max_megapixels)
    found = _doubles(scanned.pictures, labelled, names, data.near_duplicate_bits)
    rows = np.flatnonzero(found == None)  # noqa: E711
    dropped = (*collection.dropped, *scanned.dropped, *_dropped(list(scanned.pictures["path"]), found))
    counts = Counter(each.reason for each in dropped)
    notes = [
        f"{counted(count, 'picture')} of {shown(data.unlabelled)} left out: {why}"
        for why, count in counts.items()
    ]
    if not len(rows):
        lines = "".join(f"\n  {plain(note)}" for note in notes)
        raise _refusal(data.unlabelled, f"none of its pictures is left.{lines}")
    scanned.settle(collection, Decoder(transform, data.max_megapixels))
    manifest = scanned.pictures.iloc[rows].assign(split=UNLABELLED)
    card = {"notes": notes, "pictures": len(rows)}
    write_store(folder, scanned.images, manifest, classes, transform, rows=rows, card=card)
    for note in notes:
        log.warning("%s", plain(note))
    log.info("unlabelled: %s", counted(len(rows), "picture"))
    return tuple(Dropped(each.path, f"unlabelled: {each.reason}", each.detail) for each in dropped)


def _collected(given: str) -> Collection:
    try:
        files = open_files(located(given))
    except UserError as error:
        raise _refusal(given, str(error)) from None
    pictures = pictures_in(files)
    if not pictures:
        raise _refusal(given, f"there are no pictures ({', '.join(EXTENSIONS)}) in it.")
    return Collection(
        tuple(Item(name, "") for name in pictures),
        lambda position: open_picture(files.read[pictures[position]]),
        tuple(files.refused),
    )


def _refusal(given: str, why: str) -> UserError:
    way_out = "name a folder or an archive with other pictures, or go on without: -S target.unlabelled=null"
    return UserError(f"target.unlabelled = {shown(given)!r}: {why}\n  {way_out}")


def _doubles(pictures: pd.DataFrame, labelled: pd.DataFrame, names: np.ndarray, bits: int) -> np.ndarray:
    """Return (n,) objects: the split that has a picture's double, `_GROUPED` where only the group of its
    double is in one, empty for the double of an unlabelled one, None where it has none."""
    groups = labelled["group"].to_numpy(str)
    held = np.setdiff1d(groups[np.isin(names, ("val", "test"))], [""])
    names = np.where((names == "") & np.isin(groups, held), _GROUPED, names)
    known = labelled[names != ""]
    every, bits = compared_by(pd.concat([known, pictures], ignore_index=True), bits)
    splits, own = names[names != ""], every[len(known) :]
    found = np.full(len(own), None, object)
    first = np.unique(duplicates.components(own, bits), return_index=True)[1]
    found[np.setdiff1d(np.arange(len(own)), first)] = ""
    # what is in the test split is said even where it is in others as well
    for split in (_GROUPED, *SPLITS):
        seen = duplicates.first_within(own, every[: len(known)][splits == split], bits)
        found[seen >= 0] = split
    return found


def _dropped(paths: Sequence[str], found: np.ndarray) -> list[Dropped]:
    return [
        Dropped(path, _DOUBLES[split]) for path, split in zip(paths, found, strict=True) if split is not None
    ]
