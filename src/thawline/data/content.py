"""What is in one file, wherever the file lies: read whole, at its beginning, or in any order."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import BinaryIO

from thawline.config.errors import UserError

HEAD = 64
"""Bytes at the beginning of a file that tell what it is."""
LONGEST = 512 * 2**20
"""Bytes of the longest file that is taken into memory to be read in any order."""


@dataclass(frozen=True)
class Content:
    """What is in one file, to be read from any thread; a call returns all of it.

    `first(size)` returns the first bytes; `path` is where it lies, None in an archive."""

    first: Callable[[int], bytes]
    path: Path | None = None

    @cached_property
    def head(self) -> bytes:
        """The first `HEAD` bytes, which are read once however often they are asked for."""
        return self.first(HEAD)

    def __call__(self) -> bytes:
        content = self.first(LONGEST + 1)
        if len(content) > LONGEST:
            raise UserError(f"{self.path or 'a member of the archive'} is longer than 512 MiB and not read.")
        return content

    def seekable(self) -> BinaryIO:
        """Open the file to be read in any order: on a disk as it is; from archives and pipes in memory.

        Raises `OverflowError` where more than `LONGEST` bytes would have to be.
        """
        if self.path is not None:
            file = self.path.open("rb")
            if file.seekable():
                return file
            with file:
                content = file.read(LONGEST + 1)
        else:
            content = self.first(LONGEST + 1)
        if len(content) > LONGEST:
            raise OverflowError
        return io.BytesIO(content)


def file_at(path: Path) -> Content:
    """Return the content of the file at `path`."""
    return Content(partial(_first_of_file, path), path)


def _first_of_file(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        return file.read(size)
