"""What a mistake costs: the table that `evaluate.costs` names."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

from thawline.config.composition import located
from thawline.config.errors import UserError
from thawline.data.names import normal
from thawline.data.text_tables import separator_of

Costs = tuple[tuple[float, ...], ...]


def configured_costs(path: str | None, classes: Sequence[str]) -> Costs | None:
    """Return `read_costs` of the file that `evaluate.costs` names; None where it names none."""
    return None if path is None else read_costs(located(path), classes)


def read_costs(path: Path, classes: Sequence[str]) -> Costs:
    """Return the costs in the CSV file at `path`: a row for each true class and a column for each decision,
    in the order of `classes`. The file may have them in any order; names stand in the first row and the first
    column, in any Unicode form. Fields are separated by commas, semicolons or tabs.

    Raises `UserError` where the file is missing, is no square of numbers of 0 or more, or has other classes.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
        read = csv.reader(io.StringIO(text, newline=""), delimiter=separator_of(text))
        rows = [[normal(cell).strip() for cell in row] for row in read if any(map(str.strip, row))]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no CSV file in UTF-8"
        raise UserError(f"evaluate.costs = {path} cannot be read: {reason}.") from None
    if len(rows) < 2:
        raise _bad(path, "it has no rows of costs", classes)
    decisions, truths = rows[0][1:], [row[0] for row in rows[1:]]
    for names, where in ((decisions, "first row"), (truths, "first column")):
        _require_classes(path, names, where, classes)
    for row in rows[1:]:
        if len(row) != len(rows[0]):
            raise _bad(path, f"row {row[0]} has {len(row) - 1} costs for {len(decisions)} classes", classes)
    found = {
        (row[0], decision): _cost(path, row[0], decision, cell, classes)
        for row in rows[1:]
        for decision, cell in zip(decisions, row[1:], strict=True)
    }
    return tuple(tuple(found[truth, decision] for decision in classes) for truth in classes)


def _require_classes(path: Path, names: Sequence[str], where: str, classes: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    unknown, missing = sorted(set(names) - set(classes)), sorted(set(classes) - set(names))
    if twice:
        raise _bad(path, f"its {where} names {', '.join(twice)} more than once", classes)
    if unknown:
        raise _bad(path, f"its {where} names no class of these pictures: {', '.join(unknown)}", classes)
    if missing:
        raise _bad(path, f"its {where} lacks {', '.join(missing)}", classes)


def _cost(path: Path, truth: str, decision: str, cell: str, classes: Sequence[str]) -> float:
    where = f"row {truth}, column {decision}"
    try:
        value = math.nan if "_" in cell else float(cell)  # Python reads 1_0 as 10
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise _bad(path, f"{where} holds {cell!r}, which is not a number", classes)
    if value < 0:
        raise _bad(path, f"{where} holds {cell}, and a cost is 0 or more", classes)
    return value


def _bad(path: Path, what: str, classes: Sequence[str]) -> UserError:
    example = "\n  ".join([f"true class,{','.join(classes)}", *(f"{name},..." for name in classes)])
    return UserError(f"evaluate.costs = {path}: {what}.\n  It is to look like this:\n  {example}")
