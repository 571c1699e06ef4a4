"""Your own pictures: a folder or archive with one sub-folder per class."""

import io
import unicodedata
from collections import Counter
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pandas as pd
from PIL import Image

from thawline.config.errors import UserError
from thawline.config.sections import Role
from thawline.data.collection import Collection, Dropped, Item
from thawline.data.files import Files, open_files

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
SPLIT_FOLDERS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
GROUPS = "groups.csv"
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
"""Tried whatever the extension says; Pillow's other decoders are not for pictures from strangers."""
_LAYOUT = "  Expected: one folder per class with pictures in it, or train, val and test folders of those."


def collect(root: str, role: Role) -> Collection:
    """The pictures in `root/CLASS/` or `root/{train,val,test}/CLASS/`, sorted by path.

    `root` may be an archive, may start with `~`, and may hold all this in one folder of any name. A
    `groups.csv` there, with the columns path and group, says which pictures show the same thing. The
    test folder of a source is not used. Raises `UserError` when there are no pictures in class
    folders, or two class names differ only in case, spaces or Unicode form.
    """
    path = Path(root).expanduser()
    files = _entered(open_files(path))
    pictures = sorted(name for name in files.read if _is_picture(name))
    if not pictures:
        raise UserError(f"no pictures ({', '.join(EXTENSIONS)}) in {path}.\n{_LAYOUT}")
    items = _items(pictures)
    if not items:
        raise UserError(f"the pictures in {path} are not in class folders.\n{_LAYOUT}")
    _require_distinct({item.label for item in items.values()}, path)
    loose = [Dropped(_shown(name), "not in a class folder") for name in pictures if name not in items]
    notes = [*_ignored(files), *_empty_classes(files, items)]
    items = _grouped(items, files, path, notes)
    items = _without_test(items, notes) if role is Role.source else items
    reads = [files.read[name] for name in items]

    def open_picture(position: int) -> Image.Image:
        return Image.open(io.BytesIO(reads[position]()), formats=_FORMATS)

    return Collection(tuple(items.values()), open_picture, (*files.refused, *loose), tuple(notes))


def _is_picture(name: str) -> bool:
    return name.lower().endswith(EXTENSIONS)


def _shown(name: str) -> str:
    """A file's name as text, also where its bytes are not UTF-8."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _label(folder: str) -> str:
    # Some file systems store the same name with letters and accents apart.
    return unicodedata.normalize("NFC", _shown(folder))


def _entered(files: Files) -> Files:
    """The files below the only folder, for as long as there is but one and it is no class or split."""
    pictures = [name.split("/") for name in files.read if _is_picture(name)]
    tops = {folder for folder in files.folders if "/" not in folder}
    if len(tops) != 1 or not pictures:
        return files
    (top,) = tops
    if top.lower() in SPLIT_FOLDERS or any(len(parts) < 3 for parts in pictures):
        return files
    inside = f"{top}/"
    return _entered(
        Files(
            {name.removeprefix(inside): read for name, read in files.read.items()},
            {name.removeprefix(inside) for name in files.folders - {top}},
            files.refused,
        )
    )


def _has_splits(pictures: list[str]) -> bool:
    deep = {parts[0].lower() for name in pictures if len(parts := name.split("/")) > 2}
    return "train" in deep or (deep <= SPLIT_FOLDERS.keys() and all(name.count("/") > 1 for name in pictures))


def _items(pictures: list[str]) -> dict[str, Item]:
    """What is known of each picture by its place; those in no class folder are left out."""
    items = {}
    has_splits = _has_splits(pictures)
    for name in pictures:
        parts = name.split("/")
        split = SPLIT_FOLDERS.get(parts[0].lower(), "") if has_splits else ""
        if has_splits and split and len(parts) > 2:
            items[name] = Item(_shown(name), _label(parts[1]), split)
        elif not has_splits and len(parts) > 1:
            items[name] = Item(_shown(name), _label(parts[0]))
    return items


def _require_distinct(labels: set[str], path: Path) -> None:
    same: dict[str, str] = {}
    for label in sorted(labels):
        other = same.setdefault(" ".join(label.split()).casefold(), label)
        if other != label:
            raise UserError(
                f"{path} has the classes {other!r} and {label!r}, which many systems cannot tell apart.\n"
                "  Merge the two folders, or rename one."
            )


def _ignored(files: Files) -> list[str]:
    kinds = Counter(
        PurePosixPath(name).suffix.lower() or "no extension"
        for name in files.read
        if not _is_picture(name) and name != GROUPS
    )
    if not kinds:
        return []
    counts = ", ".join(f"{count} with {kind}" for kind, count in kinds.most_common())
    return [f"files that are not pictures, passed over: {counts}"]


def _empty_classes(files: Files, items: dict[str, Item]) -> list[str]:
    depth = 2 if any(item.split for item in items.values()) else 1
    used = {"/".join(name.split("/")[:depth]) for name in items}
    empty = sorted(
        folder for folder in files.folders if folder.count("/") == depth - 1 and folder not in used
    )
    return [f"class folders without a picture: {', '.join(map(_shown, empty))}"] if empty else []


def _without_test(items: dict[str, Item], notes: list[str]) -> dict[str, Item]:
    kept = {name: item for name, item in items.items() if item.split != "test"}
    if len(kept) < len(items):
        notes.append(f"{len(items) - len(kept)} test pictures are not used: a source is not tested")
    return kept


def _grouped(items: dict[str, Item], files: Files, path: Path, notes: list[str]) -> dict[str, Item]:
    """The items with the groups that groups.csv gives them."""
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
