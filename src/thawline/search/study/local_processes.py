"""Worker processes on this machine: started, replaced when they are killed, ended with their parent."""

import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import TYPE_CHECKING

import optuna
import psutil

from thawline.config.errors import UserError
from thawline.search.study.ask_and_tell import give_back
from thawline.search.study.study import DEATHS, counted, places
from thawline.tracking.origin import identity

if TYPE_CHECKING:
    from thawline.search.study.workers import Team

POLL_SECONDS = 0.5
STOP_SECONDS = 20.0
"""How long a worker that was told to stop may take before it is killed."""
LAST_WORDS = 10_000
"""Characters of a worker's error that are told. A pipe holds little more until it is read, and it is read
only once the worker is dead."""


class WorkerError(Exception):
    """A worker raised what no person can put right; the message is its traceback."""


@dataclass
class Crew:
    """The processes of one study. Those that are killed are replaced; one that raises ends the study."""

    team: "Team"
    study: optuna.Study
    update: Callable[[], None]
    crew: dict[SpawnProcess, Connection] = field(default_factory=dict)
    lost: int = 0
    done: tuple[int, int] = (0, 0)

    def run(self) -> None:
        try:
            for _ in range(self.team.config.search.workers):
                self._hire()
            while self.crew:
                wait([process.sentinel for process in self.crew], POLL_SECONDS)
                for process in [process for process in self.crew if not process.is_alive()]:
                    self._replace(process)
                self.update()
        finally:
            self._stop()

    def _hire(self) -> None:
        ours, theirs = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.get_context("spawn").Process(
            target=_worker, args=(self.team, theirs), name=f"worker of {self.team.study}"
        )
        with _threads(self.team.config.trainer.threads):
            process.start()
        theirs.close()
        self.crew[process] = ours

    def _replace(self, process: SpawnProcess) -> None:
        """What to do about a worker that ended: nothing if it was done, another one if it was killed."""
        pipe = self.crew.pop(process)
        said = _last_words(pipe)
        if process.exitcode == 0:
            return
        if said is not None:
            kind, message = said
            raise UserError(message) if kind == "person" else WorkerError(message)
        self._refuse_to_lose_for_ever(process)
        self._hire()

    def _refuse_to_lose_for_ever(self, process: SpawnProcess) -> None:
        done = len(counted(self.study)), sum(each.user_attrs.get(DEATHS, 0) for each in places(self.study))
        self.lost = self.lost + 1 if done == self.done else 1
        self.done = done
        search = self.team.config.search
        if self.lost > search.attempts * search.workers:
            raise UserError(
                f"{self.lost} workers died one after another before they finished a trial "
                f"(the last with status {process.exitcode}; -9 is most often too little memory).\n"
                f"  fewer at once may fit: search.workers={max(1, search.workers // 2)}"
            )

    def _stop(self) -> None:
        """End every worker; what they ran goes back to waiting."""
        processes = set()
        for process in self.crew:
            with suppress(psutil.NoSuchProcess):
                processes.add(identity(process.pid))
            process.terminate()
        try:
            deadline = time.monotonic() + STOP_SECONDS
            for process in self.crew:
                process.join(max(0.0, deadline - time.monotonic()))
        finally:
            for process in self.crew:
                process.kill()
                process.join()
            if processes:
                give_back(self.study, processes)


def _worker(team: "Team", pipe: Connection) -> None:
    """What a worker process runs."""
    _die_with_parent()
    # Ctrl-C reaches all processes of a terminal: the parent alone decides what it means
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        team.join()
    except KeyboardInterrupt:
        sys.exit(130)
    except UserError as error:
        pipe.send(("person", str(error)[:LAST_WORDS]))
        sys.exit(1)
    except BaseException:
        pipe.send(("bug", traceback.format_exc()[-LAST_WORDS:]))
        sys.exit(1)


def _interrupt(*_: object) -> None:
    """Once: a second signal must not interrupt the giving back."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def _die_with_parent() -> None:
    """A worker whose parent was killed ends at once, or it would run beside the next parent's."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, name="watch parent", daemon=True).start()


def _last_words(pipe: Connection) -> tuple[str, str] | None:
    try:
        return pipe.recv() if pipe.poll() else None
    except EOFError:
        return None
    finally:
        pipe.close()


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Processes started in the block use `count` threads: OpenMP reads this when it is loaded."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = str(count)
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before
