"""Which pictures show the same thing: the file groups.csv beside them, with the columns path and group."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

from thawline.config.choices import Groups
from thawline.data.collection import find_alike
from thawline.data.names import normal
from thawline.data.problems import Problem, Severity, listed
from thawline.data.text_tables import TextTableError, read_rows
from thawline.wording import counted

GROUPS = "groups.csv"
_NEARLY = re.compile(r"groups?(?:[\W\d_]|copy)*(?:\.(?:csv|tsv|txt|xlsx?|ods))+")
_DRIVE = re.compile(r"^[a-z]:")


def find(names: Iterable[str]) -> list[str]:
    """Return the files that are called groups.csv, in any case, the outermost first."""
    found = [name for name in names if name.rpartition("/")[2].lower() == GROUPS]
    return sorted(found, key=lambda name: (name.count("/"), name))


def find_nearly(names: Iterable[str]) -> list[str]:
    """Return the tables that are nearly called groups.csv, such as `group.csv` or `groups (1).csv`."""
    files = ((name, name.rpartition("/")[2].lower()) for name in names)
    return sorted(name for name, file in files if file != GROUPS and _NEARLY.fullmatch(file))


def read_groups(
    content: bytes, names: Sequence[str], above: Sequence[str], wanted: Groups, section: str
) -> tuple[dict[str, str], list[Problem]]:
    """Return the group of each picture that the table gives one, by the picture's name, and what is wrong.

    Paths are compared as paths: `\\` or `/`, `./`, Unicode forms, spaces around a part and, where that leaves
    no doubt, case do not matter; an absolute path names the picture whose whole name it ends in. `above` are
    folders that the names are relative to and that a path may begin with.

    A row without a picture, or a picture without a row, is an error unless `wanted` is partial. A table
    that cannot be read or has no group, a picture in two groups and groups with nearly one name are errors.
    """
    try:
        rows = [fields for _, fields in read_rows(content, ("path", "group"))]
    except TextTableError as error:
        return {}, [Problem(Severity.error, GROUPS, error.what, len(names), error.way_out)]
    finder = Finder(names, above)
    groups_of: dict[str, set[str]] = defaultdict(set)
    unmatched = []
    for row in rows:
        name = finder.find(row["path"])
        if name is None:
            unmatched.append(row["path"])
        else:
            groups_of[name].add(normal(row["group"]))
    missing = [name for name in names if name not in groups_of]
    problems = [
        *_blank(rows, len(names)),
        *find_alike((normal(row["group"]) for row in rows if row["group"]), "group", "groups"),
        *_contradictions(groups_of),
        *_misfits(unmatched, missing, wanted, section),
    ]
    return {name: min(groups) for name, groups in groups_of.items()}, problems


def _blank(rows: Sequence[Mapping[str, str]], pictures: int) -> Iterable[Problem]:
    if rows and not any(row["group"] for row in rows):
        way_out = f"fill it in, or remove {GROUPS}."
        yield Problem(Severity.error, GROUPS, "the column group is blank in every row", pictures, way_out)


def _contradictions(groups_of: Mapping[str, set[str]]) -> Iterable[Problem]:
    several = {name: groups for name, groups in groups_of.items() if len(groups) > 1}
    if several:
        cases = [f"{name} ({', '.join(sorted(groups))})" for name, groups in several.items()]
        what = f"{counted(len(several), 'picture')} in several groups: {listed(cases)}"
        yield Problem(Severity.error, GROUPS, what, len(several), "give every picture one group.")


def _misfits(unmatched: list[str], missing: list[str], wanted: Groups, section: str) -> Iterable[Problem]:
    partial = wanted is Groups.partial
    severity = Severity.note if partial else Severity.error
    way_out = "" if partial else f"correct its paths, or go on without these: -S {section}.groups=partial"
    if unmatched:
        what = f"{_rows(len(unmatched))} no picture: {listed(unmatched)}"
        yield Problem(severity, GROUPS, what, len(unmatched), way_out)
    if missing:
        what = f"no row for {len(missing)} of the pictures: {listed(missing)}"
        yield Problem(severity, GROUPS, what, len(missing), way_out)


def _rows(count: int) -> str:
    return "1 row names" if count == 1 else f"{count} rows name"


class Finder:
    """Finds the picture that a path means."""

    def __init__(self, names: Sequence[str], above: Sequence[str]) -> None:
        self._above = [_key(folder).split("/") for folder in above if _key(folder)]
        self._exact = frozenset(names)
        alike = defaultdict(list)
        for name in names:
            alike[_key(name)].append(name)
        self._alike = {key: found[0] for key, found in alike.items() if len(found) == 1}

    def find(self, path: str) -> str | None:
        if normal(path) in self._exact:
            return normal(path)
        parts = _key(path).split("/")
        starts = range(len(parts)) if _is_absolute(path) else self._starts(parts)
        return next(
            (self._alike[rest] for start in starts if (rest := "/".join(parts[start:])) in self._alike),
            None,
        )

    def _starts(self, parts: list[str]) -> list[int]:
        """Return where the names may begin in a path: at its first part, or behind folders above them."""
        behind = [len(folders) for folders in self._above if parts[: len(folders)] == folders]
        return [0, *sorted(behind)]


def _key(path: str) -> str:
    """Return what equal paths have in common: their parts, whatever is between them, in lower case."""
    text = normal(path).replace("\\", "/").strip().casefold()
    parts: list[str] = []
    for part in PurePosixPath("/" + text.lstrip("/")).parts[1:]:
        if part == ".." and parts:
            parts.pop()
        elif part not in (".", ".."):
            parts.append(part.strip())
    return "/".join(parts)


def _is_absolute(path: str) -> bool:
    text = path.strip().lower()
    return text.startswith(("/", "\\", "~")) or bool(_DRIVE.match(text)) or "://" in text
