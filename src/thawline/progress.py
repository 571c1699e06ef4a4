"""Progress of long work with an estimate of the time left: a bar in a terminal, else plain lines.

Of processes that train together only the one that leads shows any.
"""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from thawline.machine import leads

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 10.0


class Advance(Protocol):
    def __call__(self, done: int = 1, note: str = "") -> None: ...


@contextmanager
def progress(what: str, total: int, done: int = 0) -> Iterator[Advance]:
    """Give a function to call as work gets done.

    Args:
        what: what is being done, e.g. "pretraining".
        total: steps in all.
        done: steps done earlier (a resumed work).
    """
    if not leads():
        yield _say_nothing
    elif sys.stderr.isatty():
        yield from _bar(what, total, done)
    else:
        yield from _lines(what, total, done)


def _say_nothing(done: int = 1, note: str = "") -> None:
    pass


def _bar(what: str, total: int, done: int) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=total, completed=done, note="")

        def advance(done: int = 1, note: str = "") -> None:
            bar.update(task, advance=done, note=note)

        yield advance


def _lines(what: str, total: int, done: int) -> Iterator[Advance]:
    start = last = time.monotonic()
    first, count = done, done

    def advance(done: int = 1, note: str = "") -> None:
        nonlocal count, last
        count += done
        now = time.monotonic()
        if now - last < SECONDS_BETWEEN_LINES and count < total:
            return
        last = now
        left = (now - start) / max(count - first, 1) * (total - count)
        log.info("%s: %d/%d, about %.0f s left%s", what, count, total, left, f", {note}" if note else "")

    yield advance
