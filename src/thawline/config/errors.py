"""Errors a person can act on: they are printed without a traceback."""

import difflib
import errno
import re
from collections.abc import Iterable

FULL_DISK = "the disk is full.\n  free some space and run the same command again"

_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{4,}\b")


def alike(name: str, names: Iterable[str]) -> list[str]:
    """Return the names most like `name`, the nearest first, six at most."""
    return difflib.get_close_matches(name, list(names), n=6, cutoff=0.4)


def closest(name: str, names: Iterable[str]) -> str:
    """Return the names most like `name`, as a list in words."""
    return ", ".join(alike(name, names)) or "see the documentation"


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, as artifacts may hold it: without addresses in memory,
    which are others in every process."""
    return _ADDRESS.sub("0x…", (str(error).strip().splitlines() or [type(error).__name__])[0])


def is_full_disk(error: BaseException | None) -> bool:
    """Tell whether an error, or one it was raised because of, says that the disk is full, as libraries do
    in errors of their own types."""
    while error is not None:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if full or any(words in str(error) for words in ("No space left on device", "disk is full")):
            return True
        error = error.__cause__ or error.__context__
    return False


class UserError(Exception):
    """Something the person can put right; the message says what, where and how."""


class ConfigError(UserError):
    """A configuration that cannot be used."""


class FieldError(ConfigError):
    """One field has a value that is not allowed.

    `name` is the field's path as far as the raiser knows it; callers prepend the section.
    """

    def __init__(self, name: str, value: object, allowed: str) -> None:
        self.name, self.value, self.allowed = name, value, allowed
        shown = getattr(value, "name", value)
        super().__init__(f"{name} = {shown!r} is not allowed.\n  allowed: {allowed}")

    def under(self, section: str) -> "FieldError":
        """Return the same error with `section` in front of the field's name."""
        return FieldError(f"{section}.{self.name}" if section else self.name, self.value, self.allowed)
