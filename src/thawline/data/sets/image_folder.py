"""Your own pictures: a folder or archive with one sub-folder per class."""

import io
from collections import Counter
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pandas as pd

from thawline.config.composition import located
from thawline.config.errors import UserError
from thawline.config.sections import DataSet
from thawline.data.collection import SPLIT_NAMES, Collection, Dropped, Item, require_distinct
from thawline.data.files import Files, open_files
from thawline.data.names import class_name, shown
from thawline.data.picture_files import EXTENSIONS, is_picture, open_picture, pictures_in

GROUPS = "groups.csv"
_LAYOUT = "  Expected: one folder per class with pictures in it, or train, val and test folders of those."


def collect(data: DataSet, seed: int) -> Collection:
    """Return the pictures in `root/CLASS/` or `root/{train,val,test}/CLASS/`, sorted by path.

    `root` may be an archive, may start with `~`, and may hold all this in one folder of any name. A
    `groups.csv` there, with the columns path and group, says which pictures show the same thing.
    Raises `UserError` when there are no pictures in class folders, or two class names differ only in
    case, spaces or Unicode form.
    """
    path = located(str(data.root))
    files = _enter_only_folder(open_files(path))
    pictures = pictures_in(files)
    if not pictures:
        raise UserError(f"no pictures ({', '.join(EXTENSIONS)}) in {path}.\n{_LAYOUT}")
    items = _items(pictures)
    if not items:
        raise UserError(f"the pictures in {path} are not in class folders.\n{_LAYOUT}")
    require_distinct({item.label for item in items.values()}, path)
    loose = [Dropped(shown(name), "not in a class folder") for name in pictures if name not in items]
    notes = [*files.notes, *_note_ignored(files), *_note_empty_classes(files, items)]
    items = _grouped(items, files, path, notes)
    reads = [files.read[name] for name in items]
    return Collection(
        tuple(items.values()),
        lambda position: open_picture(reads[position]),
        (*files.refused, *loose),
        tuple(notes),
    )


def _enter_only_folder(files: Files) -> Files:
    """Return the files below the only folder, for as long as there is but one and it is no class or split."""
    pictures = [name.split("/") for name in pictures_in(files)]
    tops = {folder for folder in files.folders if "/" not in folder}
    if len(tops) != 1 or not pictures:
        return files
    (top,) = tops
    if top.lower() in SPLIT_NAMES or any(len(parts) < 3 for parts in pictures):
        return files
    inside = f"{top}/"
    return _enter_only_folder(
        Files(
            {name.removeprefix(inside): read for name, read in files.read.items()},
            {name.removeprefix(inside) for name in files.folders - {top}},
            files.refused,
            files.notes,
        )
    )


def _has_splits(pictures: list[str]) -> bool:
    deep = {parts[0].lower() for name in pictures if len(parts := name.split("/")) > 2}
    return "train" in deep or (deep <= SPLIT_NAMES.keys() and all(name.count("/") > 1 for name in pictures))


def _items(pictures: list[str]) -> dict[str, Item]:
    """Return what is known of each picture, by its file; those in no class folder are left out."""
    items = {}
    has_splits = _has_splits(pictures)
    for name in pictures:
        parts = name.split("/")
        split = SPLIT_NAMES.get(parts[0].lower(), "") if has_splits else ""
        if has_splits and split and len(parts) > 2:
            items[name] = Item(shown(name), class_name(parts[1]), split)
        elif not has_splits and len(parts) > 1:
            items[name] = Item(shown(name), class_name(parts[0]))
    return items


def _note_ignored(files: Files) -> list[str]:
    kinds = Counter(
        PurePosixPath(name).suffix.lower() or "no extension"
        for name in files.read
        if not is_picture(name, files.read[name]) and name != GROUPS
    )
    if not kinds:
        return []
    counts = ", ".join(f"{count} with {kind}" for kind, count in kinds.most_common())
    return [f"files that are not pictures, passed over: {counts}"]


def _note_empty_classes(files: Files, items: dict[str, Item]) -> list[str]:
    depth = 2 if any(item.split for item in items.values()) else 1
    used = {"/".join(name.split("/")[:depth]) for name in items}
    empty = sorted(
        folder for folder in files.folders if folder.count("/") == depth - 1 and folder not in used
    )
    return [f"class folders without a picture: {', '.join(map(shown, empty))}"] if empty else []


def _grouped(items: dict[str, Item], files: Files, path: Path, notes: list[str]) -> dict[str, Item]:
    """Return the items with the groups that groups.csv gives them."""
    if GROUPS not in files.read:
        return items
    groups = _groups(files.read[GROUPS](), path)
    known = {item.path for item in items.values()}
    unknown, missing = len(groups.keys() - known), len(known - groups.keys())
    if unknown:
        notes.append(f"{GROUPS} names {unknown} pictures that are not there")
    if missing:
        notes.append(f"{GROUPS} does not name {missing} pictures; each is its own group")
    return {name: replace(item, group=groups.get(item.path, "")) for name, item in items.items()}


def _groups(content: bytes, path: Path) -> dict[str, str]:
    try:
        table = pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except ValueError as error:
        raise UserError(f"{GROUPS} in {path} cannot be read: {error}") from None
    if not {"path", "group"} <= set(table.columns):
        raise UserError(
            f"{GROUPS} in {path} needs the columns path and group, has: {', '.join(table.columns)}"
        )
    table = table[["path", "group"]].drop_duplicates()
    twice = table["path"][table["path"].duplicated()]
    if len(twice):
        raise UserError(f"{GROUPS} in {path} puts {twice.iloc[0]} into two groups")
    return dict(zip(table["path"], table["group"], strict=True))
