"""Tables that people write: a header and a row a line, with commas, semicolons or tabs between the fields."""

import csv
import io
from collections.abc import Iterator, Sequence


class TextTableError(Exception):
    """A table that cannot be read: `what` goes on behind its name, `way_out` says what to do."""

    def __init__(self, what: str, way_out: str) -> None:
        super().__init__(f"{what}.\n  {way_out}")
        self.what, self.way_out = what, way_out


def read_rows(
    content: bytes, needed: Sequence[str], optional: Sequence[str] | None = None
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield each row's line and its fields by their columns' names in lower case, without spaces around.

    `optional`: the columns that are allowed beside the `needed` ones; None: whatever there is. The text is
    UTF-8, with or without a byte order mark. Raises `TextTableError` for what is no such table.
    """
    try:
        text = content.decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator_of(text), strict=True)
        columns = [name.strip().lower() for name in reader.fieldnames or []]
        _require_columns(columns, needed, optional)
        reader.fieldnames = columns
        for fields in reader:
            if None in fields or None in fields.values():
                raise csv.Error(
                    f"line {reader.line_num} does not have {len(columns)} fields, as the header does"
                )
            yield reader.line_num, {name: text.strip() for name, text in fields.items()}
    except UnicodeDecodeError:
        raise TextTableError("is not UTF-8", "Save it as: CSV UTF-8.") from None
    except csv.Error as error:
        raise TextTableError(f"cannot be read: {error}", "Correct that line.") from None


def separator_of(text: str) -> str:
    """Return what separates the fields of a table: what is most often in its first line."""
    return max(",;\t", key=text.partition("\n")[0].count)


def _require_columns(columns: list[str], needed: Sequence[str], optional: Sequence[str] | None) -> None:
    allowed = columns if optional is None else (*needed, *optional)
    problems = {
        "missing": [name for name in needed if name not in columns],
        "unknown": [name or "(no name)" for name in columns if name not in allowed],
        "given twice": sorted({name for name in columns if columns.count(name) > 1}),
    }
    said = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in problems.items() if names)
    if said:
        others = f" Allowed: {', '.join(optional)}. Rename or remove the others." if optional else ""
        raise TextTableError(f"has the wrong columns ({said})", f"Needed: {', '.join(needed)}.{others}")
