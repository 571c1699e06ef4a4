"""Progress of long work: which stage, how far, and the time left in it and in all; a bar in a terminal, else
plain lines.

Whoever divides work into steps opens `progress`; whoever works inside a step says so by `within`. Of
processes that train together only the one that leads shows any.
"""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from thawline.machine import leads
from thawline.wording import roughly

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 10.0

FIRST_SECONDS = 3.0
"""When the first line after the beginning may come: people wonder whether anything happens."""


HARDLY_BEGUN = 0.05
"""A share of the first step before which nothing but its preparation can have taken time."""


class Advance(Protocol):
    def __call__(self, done: int = 1, note: str = "") -> None: ...


@dataclass(frozen=True)
class Place:
    """A stage among all of them. `after` returns the seconds that later stages will take, None where nobody
    knows."""

    name: str
    number: int
    of: int
    after: Callable[[], float | None] = lambda: None


_place: Place | None = None
_open: "list[_Shown]" = []
_parts: list[tuple[str, int, int]] = []


def stage(place: Place | None) -> None:
    """Say from now on where among all stages this process works; None: it is none of them."""
    global _place
    _place = place


@contextmanager
def progress(what: str, total: int, done: int = 0) -> Iterator[Advance]:
    """Give a function to call as work gets done.

    Args:
        what: what is being done, e.g. "pretraining".
        total: steps in all.
        done: steps done earlier (a resumed work).
    """
    if not leads():
        yield say_nothing
        return
    with _bar(what, total, done) if sys.stderr.isatty() else _lines(what, total, done) as shown:
        _open.append(shown)
        try:
            yield shown.advance
        finally:
            _open.remove(shown)


def within(note: str, share: float = 0.0) -> None:
    """Say how far the step is that is being worked on, e.g. "epoch 3 of 8", and which share of it is done,
    from 0 to 1. Nothing is shown where nobody has opened `progress`."""
    if not _open:
        return
    notes = [note]
    for part, number, of in reversed(_parts):
        notes.insert(0, part)
        share = (number - 1 + share) / of
    _open[-1].within(", ".join(notes), share)


@contextmanager
def part(what: str, number: int, of: int) -> Iterator[None]:
    """Say for the length of the block which of so many equal parts of the step is worked on, e.g. "fold"."""
    if of > 1:
        _parts.append((f"{what} {number} of {of}", number, of))
    try:
        yield
    finally:
        if of > 1:
            _parts.pop()


def say_nothing(done: int = 1, note: str = "") -> None:
    """Be called as work gets done that nobody is shown."""


class _Shown:
    """Work of `total` steps of which `done` were done before; `show` is called when something has changed."""

    def __init__(self, what: str, total: int, done: int) -> None:
        self.what, self.total, self.done, self.first = what, total, done, done
        self.note, self.inside, self.share = "", "", 0.0
        self.started = time.monotonic()
        # since when, and since how much work, the pace counts
        self.since, self.before = self.started, float(done)

    def advance(self, done: int = 1, note: str = "") -> None:
        self.done += done
        self.note = note or self.note
        if done:
            self.inside, self.share = "", 0.0
        self.show(self.done >= self.total)

    def within(self, note: str, share: float) -> None:
        if self.since == self.started and self.done + share < self.first + HARDLY_BEGUN:
            # what a first step begins with, loading and storing, is no pace to go by
            self.since, self.before = time.monotonic(), self.done + share
        self.inside, self.share = note, share
        self.show(False)

    def show(self, last: bool) -> None:
        raise NotImplementedError

    @property
    def left(self) -> float | None:
        """Seconds left by what the steps took so far; None before there is anything to go by."""
        worked = self.done + self.share - self.before
        if worked <= 0:
            return None
        return (time.monotonic() - self.since) / worked * max(0.0, self.total - self.done - self.share)

    @property
    def text(self) -> str:
        """Return e.g. `stage 7 of 13, search finetuned: 3/8, epoch 2 of 8, 40 s left, 2 min in all`."""
        parts = [f"{self.done}/{self.total}", self.inside, self.note, _in_words(self.left)]
        where = "" if _place is None else f"stage {_place.number} of {_place.of}, "
        return f"{where}{self.what}: {', '.join(part for part in parts if part)}"


def _in_words(left: float | None) -> str:
    if left is None:
        return ""
    after = None if _place is None else _place.after()
    found = f"about {roughly(left)} left"
    return found if after is None else f"{found}, {roughly(left + after)} in all"


@contextmanager
def _bar(what: str, total: int, done: int) -> Iterator[_Shown]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    with Progress(BarColumn(), TextColumn("{task.fields[text]}"), console=Console(stderr=True)) as bar:

        class Bar(_Shown):
            def show(self, last: bool) -> None:  # noqa: ARG002
                bar.update(task, completed=self.done + self.share, text=self.text)

        shown = Bar(what, total, done)
        task = bar.add_task(what, total=total, completed=done, text=shown.text)
        yield shown


@contextmanager
def _lines(what: str, total: int, done: int) -> Iterator[_Shown]:
    class Lines(_Shown):
        due = 0.0

        def show(self, last: bool) -> None:
            now = time.monotonic()
            if now >= self.due or last:
                self.due = now + SECONDS_BETWEEN_LINES
                log.info("%s", self.text)

    shown = Lines(what, total, done)
    shown.due = shown.started + FIRST_SECONDS
    yield shown
