"""What was measured is kept and not measured again, so that an interrupted call goes on where it was."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from thawline.artifacts import atomic_path, read_json, write_json


def kept(path: Path, measure: Callable[..., Any], *given: Any) -> Any:
    """Return what the file at `path` holds; without one, `measure(*given)` goes there first."""
    if not path.is_file():
        write_json(path, measure(*given))
    return read_json(path)


def arrays(path: Path, measure: Callable[[], Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the arrays in the .npz at `path`; without one, what is measured goes there first."""
    if not path.is_file():
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **measure())
    with np.load(path) as stored:
        return dict(stored)


def digits(right: np.ndarray) -> str:
    """Return what is right, (N,) of 0 and 1, as text: a number a line would make these files forty times as
    long."""
    return "".join(map(str, np.asarray(right).astype(int)))


def of_digits(text: str) -> np.ndarray:
    """Return the (N,) numbers of which `digits` made `text`."""
    return np.array(list(text), float)


class Cells(dict[str, Any]):
    """Measurements by name in one file, which is written after each."""

    def __init__(self, path: Path) -> None:
        super().__init__(read_json(path) if path.is_file() else {})
        self.path = path

    def measured(self, name: str, measure: Callable[..., Any], *given: Any) -> Any:
        """Return the measurement of this name; `measure(*given)` makes it if there is none yet."""
        if name not in self:
            self[name] = measure(*given)
            write_json(self.path, self)
        return self[name]


def rows_in(path: Path) -> list[dict[str, Any]]:
    """Return the rows that a file holds; none without one."""
    return list(read_json(path)) if path.is_file() else []


def put(path: Path, rows: list[dict[str, Any]], *names: str) -> None:
    """Add rows to a file in place of those that are equal to one of them in what is called `names`."""
    fresh = [[row[name] for name in names] for row in rows]
    others = [row for row in rows_in(path) if [row[name] for name in names] not in fresh]
    write_json(path, [*others, *rows])
