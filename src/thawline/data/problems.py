"""What is wrong with a data set: all of it in one table, worst first, with the ways out."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from thawline.config.errors import UserError

SHOWN = 5
"""How many of many things are named."""
_ROWS = 30


class Severity(IntEnum):
    """How bad it is: an error ends the preparation, a warning says what is lost, a note what was done."""

    error = 0
    warning = 1
    note = 2


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: where (a class, a file), what, how many pictures it concerns, the way out."""

    severity: Severity
    where: str
    what: str
    pictures: int = 0
    way_out: str = ""


def require_usable(problems: Iterable[Problem], root: object) -> None:
    """Raise `UserError` with all problems if one of them is an error."""
    ordered = worst_first(problems)
    if ordered and ordered[0].severity is Severity.error:
        lines = [f"{root} cannot be used as it is. What is wrong, worst first:", *_table(ordered)]
        ways = _ways_out(ordered)
        raise UserError("\n  ".join([*lines, *(["", *ways] if ways else [])]))


def worst_first(problems: Iterable[Problem]) -> list[Problem]:
    """Return errors before warnings before notes, in each of these what concerns most pictures first."""
    return sorted(problems, key=lambda problem: (problem.severity, -problem.pictures, problem.where))


def said(problem: Problem) -> str:
    """Return a problem as a sentence."""
    return f"{problem.where}: {problem.what}" if problem.where else problem.what


def listed(names: Sequence[str], shown: int = SHOWN) -> str:
    """Return the first few names, and how many more there are."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def _table(problems: list[Problem]) -> list[str]:
    shown = problems[:_ROWS]
    width = max(len(plain(problem.where)) for problem in shown)
    rows = [
        f"{problem.severity.name:7}  {plain(problem.where):{width}}  {plain(problem.what)}"
        for problem in shown
    ]
    more = len(problems) - len(shown)
    return [*rows, f"and {more} more of these"] if more else rows


def _ways_out(problems: list[Problem]) -> list[str]:
    """Return each way out once, with what it is the way out of."""
    concerned: dict[str, list[str]] = defaultdict(list)
    for problem in problems:
        if problem.way_out:
            concerned[problem.way_out].append(problem.where)
    return [f"{plain(listed(where, 3))}: {way_out}" for way_out, where in concerned.items()]


def plain(text: str) -> str:
    """Return the text in one line: what would break it, such as a tab in a name, is written out."""
    return text if text.isprintable() else repr(text)[1:-1]
