"""What folders say about the pictures in them: their classes and splits, or that it cannot be told.

Everything here is computed from names relative to the root, with `/` between the parts.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from thawline.config.choices import Layout
from thawline.data.split_names import are_in_names, says_nothing, splits_of

Parts = tuple[str, ...]
"""The folders above a picture from the root down, and last the name of its file."""

Place = tuple[str, str]
"""A picture's class and its split, which is empty where none is named."""

_NUMBER = re.compile(r"[\s._\-#(\[]*\d[\d\s._\-)\]]*(copy)?$", re.IGNORECASE)
_FEW = 0.5
"""Share of all pictures above which pictures beside the class folders are no stray files."""
_STRAY = 0.1
"""Share of a folder's pictures above which those directly in it are no stray files."""


@dataclass(frozen=True)
class Reading:
    """What a layout makes of the pictures: `places` of those that it has a class for, by name."""

    layout: Layout
    places: dict[str, Place]
    left_out: tuple[str, ...] = ()

    @cached_property
    def classes(self) -> Counter[str]:
        return Counter(label for label, _ in self.places.values())

    @property
    def splits(self) -> Counter[str]:
        return Counter(split for _, split in self.places.values())

    def is_usable(self) -> bool:
        """Return whether a classifier could learn from it: two classes, also of the pictures to train on."""
        trained = {label for label, split in self.places.values() if split in ("", "train")}
        return len(trained) > 1


def read(names: Sequence[str], layout: Layout) -> Reading:
    """Return what these pictures are under `layout`, which is not `auto`."""
    parts = _squeezed([tuple(name.split("/")) for name in names])
    inner = 1 if layout is Layout.splits_in_classes else 0
    splits = splits_of({each[inner] for each in parts if len(each) > inner + 1})
    places = {}
    for name, each in zip(names, parts, strict=True):
        place = _READERS[layout](each, splits)
        if place is not None:
            places[name] = place
    return Reading(layout, places, tuple(name for name in names if name not in places))


def choose(names: Sequence[str]) -> Reading | None:
    """Return what these pictures are where only one layout makes sense, else None.

    Folders with names of splits are splits where all folders with folders in them have such names and one of
    them is for training. Otherwise the outermost folders are the classes, unless folders in them could be the
    classes just as well: the same name in several of them, or words instead of numbers.
    """
    layout = _certain(_squeezed([tuple(name.split("/")) for name in names]))
    if layout is None:
        return None
    reading = read(names, layout)
    return reading if reading.is_usable() or not readings(names) else None


def readings(names: Sequence[str]) -> list[Reading]:
    """Return what these pictures could be: three layouts at most, of those that say the same the first."""
    found: list[Reading] = []
    for layout in _READERS:
        reading = read(names, layout)
        if _makes_sense(reading) and all(reading.places != other.places for other in found):
            found.append(reading)
    return found[:3]


def _makes_sense(reading: Reading) -> bool:
    """Return whether somebody could mean this: no class of its own for every file, no class called train."""
    if reading.layout is Layout.file_names and len(reading.classes) > _FEW * len(reading.places):
        return False
    named = set(splits_of(reading.classes).values()) if reading.layout is Layout.class_folders else set()
    return reading.is_usable() and not {"train"} < named


def enter(names: Iterable[str]) -> str:
    """Return the folder that all pictures lie in and that says nothing about them, `wrapping/`; may be empty.

    A folder of pictures is a class, and one that is called like a split is one: both are not entered.
    """
    parts = [tuple(name.split("/")) for name in names]
    prefix = ""
    while parts and len({each[0] for each in parts}) == 1 and all(len(each) > 2 for each in parts):
        top = parts[0][0]
        if splits_of([top]):
            break
        prefix += f"{top}/"
        parts = [each[1:] for each in parts]
    return prefix


def _certain(parts: Sequence[Parts]) -> Layout | None:
    """Return the only layout that makes sense, or None."""
    deep = {each[0] for each in parts if len(each) > 2}
    flat = {each[0] for each in parts if len(each) == 2} - deep
    splits = splits_of(deep | flat)
    if deep & splits.keys():
        named = [splits[top] for top in (deep | flat) & splits.keys()]
        whole = deep <= splits.keys() and (flat <= splits.keys() or len(set(named)) > 1)
        learnt = "train" in {splits[top] for top in deep & splits.keys()}
        inside = [each[1:] for each in parts if each[0] in deep]
        return Layout.split_folders if whole and learnt and not _is_doubtful(inside) else None
    if (
        "train" in {splits.get(top) for top in flat}
        and len({splits[top] for top in flat & splits.keys()}) > 1
    ):
        return None
    if sum(len(each) == 1 for each in parts) > _FEW * len(parts):
        return None
    if deep and not flat and _hold_splits(parts):
        return Layout.splits_in_classes
    return None if _is_doubtful(parts) or are_in_names(deep | flat) else Layout.class_folders


def _is_doubtful(parts: Sequence[Parts]) -> bool:
    """Return whether the folders inside the outermost ones could be the classes just as well."""
    outer_of = defaultdict(set)
    for each in parts:
        if len(each) > 2:
            outer_of[each[1]].add(each[0])
    innermost = {each[-2] for each in parts if len(each) > 1}
    if len(innermost) < 2:
        return False
    if any(len(outer) > 1 for outer in outer_of.values()):
        return True
    direct, all_of = (
        Counter(each[0] for each in parts if len(each) in lengths) for lengths in ((2,), range(2, 99))
    )
    pictured = {top for top, count in direct.items() if count > _STRAY * all_of[top]}
    inner = [name for name, outer in outer_of.items() if not outer & pictured]
    outer = {top for name in inner for top in outer_of[name]}
    words = sum(not any(letter.isdigit() for letter in name) for name in inner)
    # one folder in each of them only repeats what its name says
    return len(inner) > len(outer) and words > len(inner) / 2


def _hold_splits(parts: Sequence[Parts]) -> bool:
    """Return whether every outermost folder holds folders of splits and nothing else, training among them."""
    below = defaultdict(set)
    for each in parts:
        below[each[0]].add(each[1] if len(each) > 2 else "")
    return all(
        splits_of(inner).keys() == inner and "train" in splits_of(inner).values() for inner in below.values()
    )


def _squeezed(parts: list[Parts]) -> list[Parts]:
    """Return the parts without folders that are alone in theirs and say nothing new: `seg_pred/seg_pred`, and
    `train/train/cat` or `train/images/cat` where it is so in all splits."""
    inner = defaultdict(set)
    for each in parts:
        inner[each[0]].add(each[1] if len(each) > 2 else "")
    alone = {top: next(iter(names)) for top, names in inner.items() if len(names) == 1 and names != {""}}
    splits = splits_of({each[0] for each in parts if len(each) > 1})
    repeated = {top for top, name in alone.items() if name == top}
    in_splits = [top for top, names in inner.items() if top in splits and names != {""}]
    if all(top in repeated or _repeats(alone.get(top), splits[top]) for top in in_splits):
        repeated |= set(in_splits)
    if not repeated:
        return parts
    return _squeezed([(each[0], *each[2:]) if each[0] in repeated else each for each in parts])


def _repeats(folder: str | None, split: str) -> bool:
    return folder is not None and (says_nothing(folder) or splits_of([folder]).get(folder) == split)


def _in_class_folder(parts: Parts, splits: dict[str, str]) -> Place | None:  # noqa: ARG001
    return (parts[0], "") if len(parts) > 1 else None


def _in_split_folder(parts: Parts, splits: dict[str, str]) -> Place | None:
    return (parts[1], splits[parts[0]]) if len(parts) > 2 and parts[0] in splits else None


def _in_split_of_class(parts: Parts, splits: dict[str, str]) -> Place | None:
    return (parts[0], splits[parts[1]]) if len(parts) > 2 and parts[1] in splits else None


def _in_innermost_folder(parts: Parts, splits: dict[str, str]) -> Place | None:
    if len(parts) < 2 or (len(parts) == 2 and parts[0] in splits):
        return None
    return parts[-2], splits.get(parts[0], "")


def _in_file_name(parts: Parts, splits: dict[str, str]) -> Place | None:
    label = _NUMBER.sub("", parts[-1].rpartition(".")[0])
    return (label, splits.get(parts[0], "") if len(parts) > 1 else "") if label else None


_READERS: dict[Layout, Callable[[Parts, dict[str, str]], Place | None]] = {
    Layout.class_folders: _in_class_folder,
    Layout.split_folders: _in_split_folder,
    Layout.splits_in_classes: _in_split_of_class,
    Layout.innermost_folders: _in_innermost_folder,
    Layout.file_names: _in_file_name,
}
