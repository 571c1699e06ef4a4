"""Your own pictures, named by a table (.csv, .tsv): a row for each, its path and its label.

Columns: `path` (absolute, or relative to the table's folder or, where there is none, to the repository's),
`label` and, if wanted, `group` (pictures with the same one are never parted) and `split` (train, val or test,
or another name of one, in any case; blank: chosen here).
"""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from thawline.config.composition import located, repository_root
from thawline.config.errors import UserError
from thawline.config.sections import DataSet
from thawline.config.supervision import is_voted
from thawline.data.collection import Collection, Item, find_alike
from thawline.data.content import file_at
from thawline.data.names import normal
from thawline.data.picture_files import open_picture
from thawline.data.problems import listed
from thawline.data.split_names import SPLITS, splits_named
from thawline.data.text_tables import TextTableError, read_rows

NAME = "labels.csv"
"""The table's name where `root` is the folder that holds it."""
NEEDED, OPTIONAL = ("path", "label"), ("group", "split")


@dataclass(frozen=True)
class _Row:
    """A row of the table, and the line of the file it ends on.

    `file` is where the picture lies, `path` what it is called, `split` empty or one of train, val, test
    once `_with_splits` knew it and the table is found to be right, `grouped` whether the table has the
    column group, filled or not."""

    line: int
    file: Path
    path: str
    label: str
    group: str
    split: str
    grouped: bool


def collect(data: DataSet, seed: int) -> Collection:
    """Return the pictures that the table at `root` names, sorted by path, whatever the order of its rows.

    Fields are separated by commas, semicolons or tabs; the text is UTF-8, with or without a byte order mark;
    the order of the columns, their case and spaces around a field do not matter. Raises `UserError`, with
    all that is wrong at once, for a table that cannot be obeyed.
    """
    table = _locate(located(str(data.root)))
    rows = _with_splits(list(_read(table)))
    problems = [
        *_find_wrong_fields(rows, is_voted(data)),
        *_find_missing_pictures(rows),
        *_find_contradictions(rows),
    ]
    if problems or not rows:
        lines = "".join(f"\n  - {problem}" for problem in problems or ["it has no rows below its header"])
        raise UserError(f"{table} cannot be used:{lines}\n  Correct the table and run the command again.")
    by_path = {row.path: row for row in sorted(rows, key=lambda row: row.path)}
    items = tuple(Item(path, row.label, row.split, row.group) for path, row in by_path.items())
    files = [row.file for row in by_path.values()]
    repeated = len(rows) - len(items)
    notes = [f"{repeated} rows of {table.name} repeat an earlier one"] if repeated else []
    groups = {row.group for row in rows if row.group}
    if not groups and any(row.grouped for row in rows):
        notes.append(f"the column group of {table.name} is blank in every row: no pictures belong together")
    return Collection(
        items,
        lambda position: open_picture(file_at(files[position])),
        notes=tuple(notes),
        problems=(
            *find_alike(row.label for row in rows if row.label),
            *find_alike(_given_names(groups, by_path), "group", "groups"),
        ),
    )


def _given_names(groups: Iterable[str], paths: Iterable[str]) -> list[str]:
    """Return the groups less those that are called like a picture: tables that were written here call groups
    so, and names of files may differ in case."""
    files = {path.rpartition("/")[2] for path in paths}
    return [group for group in groups if group.rpartition("/")[2] not in files]


def _locate(root: Path) -> Path:
    table = Path(os.path.normpath(root / NAME if root.is_dir() else root))
    if not table.is_file():
        raise UserError(
            f"{table} does not exist.\n"
            f"  Set root to a .csv file with the columns path,label or to a folder with a {NAME} in it."
        )
    return table


def _read(table: Path) -> Iterator[_Row]:
    try:
        for line, fields in read_rows(table.read_bytes(), NEEDED, OPTIONAL):
            yield _row(table.parent, line, fields)
    except (TextTableError, OSError) as error:
        raise UserError(f"{table} {error}") from None


def _row(folder: Path, line: int, fields: dict[str, str]) -> _Row:
    """Return the row; its picture is named by its path below the folder where it was found, else by the full
    one."""
    folder, file = _found(folder, fields["path"])
    path = file.relative_to(folder) if file.is_relative_to(folder) else file
    label, group = (normal(fields.get(name, "")) for name in ("label", "group"))
    split = fields.get("split", "")
    return _Row(line, file, normal(path.as_posix()), label, group, split, "group" in fields)


def _with_splits(rows: list[_Row]) -> list[_Row]:
    """Return the rows with the splits that theirs mean beside each other; what means none stays as it is."""
    splits = splits_named({row.split for row in rows})
    return [replace(row, split=splits.get(row.split, row.split)) for row in rows]


def _found(folder: Path, named: str) -> tuple[Path, Path]:
    """Return `folder`, or the repository where only that has a file which is `named` so, and the file."""
    # as it is, or as other systems separate folders
    names = dict.fromkeys((named, named.replace("\\", "/")))
    paths = [Path(name).expanduser() if name.startswith("~/") else Path(name) for name in names]
    places = [(place, path) for path in paths for place in (folder, repository_root())]
    found = [(place, _on_disk(place, Path(os.path.normpath(place / path)))) for place, path in places]
    return next((each for each in found if _is_file(each[1])), found[0])


def _on_disk(folder: Path, file: Path) -> Path:
    """Return the file's path in the Unicode form in which the disk has it; where it has none, as given."""
    if _is_file(file) or not file.is_relative_to(folder):
        return file
    below = str(file.relative_to(folder))
    forms = (folder / unicodedata.normalize(form, below) for form in ("NFC", "NFD"))
    return next(filter(_is_file, forms), file)


def _find_wrong_fields(rows: list[_Row], voted: bool) -> Iterator[str]:
    unnamed = [row for row in rows if row.path == "."]
    yield from _say("no path", (f"line {row.line} (label {row.label!r})" for row in unnamed))
    yield from _say("no label", (f"line {row.line} ({row.path})" for row in rows if not (row.label or voted)))
    yield from _say(
        "split is neither train, val, test nor blank",
        (f"line {row.line} ({row.split!r})" for row in rows if row.split not in ("", *SPLITS)),
    )


def _find_missing_pictures(rows: list[_Row]) -> Iterator[str]:
    named = [row for row in rows if row.path != "."]
    missing = {row for row in named if not _is_file(row.file)}
    yield from _say("no such file", (f"line {row.line} ({row.path})" for row in named if row in missing))
    with_pictures = {row.label for row in named if row not in missing}
    yield from _say("a label without a picture", sorted({row.label for row in rows} - with_pictures - {""}))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that no file can have
        return False


def _find_contradictions(rows: list[_Row]) -> Iterator[str]:
    """Say which pictures have rows that disagree, comparing paths as paths: `a/../b.png` is `b.png`."""
    for column in ("label", *OPTIONAL):
        lines: dict[str, dict[str, int]] = defaultdict(dict)
        for row in rows:
            lines[row.path].setdefault(getattr(row, column), row.line)
        yield from _say(
            f"one picture has several values of {column}",
            (f"{path} ({_values(found)})" for path, found in lines.items() if path != "." and len(found) > 1),
        )


def _values(lines: dict[str, int]) -> str:
    return ", ".join(f"{value!r} in line {line}" for value, line in lines.items())


def _say(problem: str, offenders: Iterable[str]) -> list[str]:
    """Return the problem with the first few offenders, nothing where there are none."""
    found = list(offenders)
    return [f"{problem}: {listed(found)}"] if found else []
