"""What is said where folders could mean several things: what was seen, and the setting for each reading."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from thawline.config.choices import Layout
from thawline.config.overrides import override, shell_line
from thawline.data.layout import Parts, Reading, choose, readings
from thawline.data.problems import listed, plain
from thawline.wording import counted

EXPECTED = (
    "Expected: one folder per class with pictures in it, or train, val and test folders of those.\n"
    "  Pictures that lie otherwise are named by a table with the columns path,label: thawline fit TABLE.csv"
)
WORDS = {
    Layout.class_folders: "one folder per class",
    Layout.split_folders: "folders of splits, in each one folder per class",
    Layout.splits_in_classes: "one folder per class, in each the folders of splits",
    Layout.innermost_folders: "the folder that a picture lies in is its class",
    Layout.file_names: "the beginning of a file's name is its class",
}
_LEVELS, _BRANCHES = 3, 6
"""Of the tree that is shown: levels, and folders shown in each folder."""


def refusal(names: Sequence[str], root: Path, folder: Path | None, section: str, layout: Layout) -> str:
    """Return the message for pictures that `layout` cannot read or that can be read in several ways.

    names: of the pictures. root: what was given. folder: what the names are relative to, None in an archive.
    section: `source` or `target`.
    """
    found = [
        (f"-S {section}.layout={reading.layout.name}", WORDS[reading.layout], reading)
        for reading in readings(names)
        if reading.layout is not layout
    ]
    found += [
        (f"-S {shell_line([override(f'{section}.root', str(path))])}", "nothing but this folder", reading)
        for path, reading in _inside(names, folder)
    ]
    seen = [f"  {line}" for line in tree(names)]
    how = "Add what is right to the command:"
    ways = [line for setting, words, reading in found for line in (setting, f"  {words}: {_said(reading)}")]
    lines = [_first(root, section, layout, len(found)), "There is:", *seen]
    if not found:
        return "\n  ".join([*lines, EXPECTED])
    other = [EXPECTED] if len(found) == 1 else []
    return "\n  ".join([*lines, how, *(f"  {way}" for way in ways), *other])


def _first(root: Path, section: str, layout: Layout, ways: int) -> str:
    if layout is not Layout.auto:
        return f"{section}.layout={layout.name} finds no pictures of two classes in {root}."
    if ways > 1:
        return f"the folders in {root} could mean several things."
    if ways == 1:
        return f"it is not certain what the folders in {root} mean."
    return f"the folders in {root} do not name two classes."


def tree(names: Iterable[str]) -> list[str]:
    """Return the folders with pictures in them, three levels deep, as indented lines with numbers."""
    return _branch([tuple(name.split("/")) for name in names], 0)


def _branch(parts: list[Parts], depth: int) -> list[str]:
    inside: dict[str, list[Parts]] = defaultdict(list)
    for each in parts:
        inside[f"{each[0]}/" if len(each) > 1 else ""].append(each[1:])
    lines = []
    for folder, below in sorted(inside.items())[:_BRANCHES]:
        lines.append(f"{'  ' * depth}{plain(folder) or 'directly here'}: {counted(len(below), 'picture')}")
        if folder and depth < _LEVELS - 1 and any(len(each) > 1 for each in below):
            lines += _branch(below, depth + 1)
    rest = len(inside) - _BRANCHES
    return [*lines, f"{'  ' * depth}and {rest} more"] if rest > 0 else lines


def _inside(names: Sequence[str], folder: Path | None) -> list[tuple[Path, Reading]]:
    """Return the outermost folder that can be read by itself; none where several can, as folds, and where
    it is not on the disk by this name, but in an archive or in another Unicode form."""
    below = defaultdict(list)
    for name in names:
        top, _, rest = name.partition("/")
        if "/" in rest:
            below[top].append(rest)
    chosen = [(top, choose(inner)) for top, inner in below.items()]
    found = [(top, reading) for top, reading in chosen if reading is not None and reading.is_usable()]
    if folder is None or len(found) != 1 or not (folder / found[0][0]).is_dir():
        return []
    return [(folder / top, reading) for top, reading in found]


def _said(reading: Reading) -> str:
    """Return the classes and splits that a reading finds, and what it leaves out, with numbers."""
    classes = [f"{plain(label)} ({count})" for label, count in sorted(reading.classes.items())]
    splits = reading.splits
    parts = [f"{count} {split or 'in no split'}" for split, count in sorted(splits.items())]
    left_out = [f"{counted(len(reading.left_out), 'picture')} left out"] if reading.left_out else []
    return "; ".join([listed(classes, 8), *([", ".join(parts)] if set(splits) != {""} else []), *left_out])
