"""The time that everything together has used since it began, over interruptions.

Whoever is at work marks the time every few seconds. The time between two marks counts, unless it is so long
that nobody can have been at work: after a kill and a pause only what was worked counts.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from thawline.artifacts import write_json

IDLE_SECONDS = 60.0
"""Where the last mark is older, nobody was at work since."""

SECONDS_BETWEEN_MARKS = 3.0

COUNTED = "THAWLINE_CLOCK"
"""The environment variable with the key of what `thawline fit` counts, while it is at work."""


class Clock:
    """The clock in the file `path`, which need not exist: then nothing is counted."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def start(self, key: str) -> float:
        """Go on from what was counted for `key`, if that was not stopped, else from 0; return the seconds
        used."""
        with self._alone():
            counted = self._read()
            if not (counted and counted.get("key") == key):
                counted = {"key": key, "used": 0.0}
            write_json(self.path, counted | {"marked": time.time()})
        return float(counted["used"])

    @property
    def key(self) -> str | None:
        """What is counted for; None where nothing is counted."""
        counted = self._read()
        return str(counted["key"]) if counted else None

    def mark(self) -> None:
        """Count the time since the last mark."""
        with self._alone():
            counted = self._read()
            if counted:
                now = time.time()
                write_json(self.path, counted | {"used": _used(counted, now), "marked": now})

    def used(self) -> float | None:
        """Return the seconds used until now; None where nothing is counted."""
        counted = self._read()
        return _used(counted, time.time()) if counted else None

    def stop(self) -> None:
        """Count no longer: all is done, and the same work would begin anew."""
        with self._alone():
            self.path.unlink(missing_ok=True)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Mark the time every few seconds for the length of the block, however it ends."""
        done = threading.Event()

        def go_on() -> None:
            while not done.wait(SECONDS_BETWEEN_MARKS):
                self.mark()

        marker = threading.Thread(target=go_on, daemon=True)
        marker.start()
        try:
            yield
        finally:
            done.set()
            marker.join()
            self.mark()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let nobody else write for the length of the block: several mark the time."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self.path}.lock"):
            yield

    def _read(self) -> dict[str, float | str] | None:
        try:
            found: dict[str, float | str] = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found


def _used(counted: dict[str, float | str], now: float) -> float:
    since = now - float(counted["marked"])
    return float(counted["used"]) + (since if 0 < since <= IDLE_SECONDS else 0.0)
