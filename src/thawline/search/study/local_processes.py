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

import psutil

from thawline.config.errors import UserError
from thawline.search.study.engine import POLL_SECONDS, Work
from thawline.search.study.recovery import give_back
from thawline.search.study.study import DEATHS, SharedStudy, counted
from thawline.tracking.origin import identity

STOP_SECONDS = 20.0
"""A worker that was told to stop may take so long before it is killed."""
LAST_WORDS = 10_000
"""Characters of a worker's error that are told. A pipe holds little more until it is read, and it is read
only once the worker is dead."""


class WorkerError(Exception):
    """A worker raised what no person can put right; the message is its traceback."""


@dataclass
class LocalProcesses:
    """The worker processes of one study: those that are killed are replaced, one that raises ends it."""

    work: Work
    study: SharedStudy
    update: Callable[[], None]
    workers: dict[SpawnProcess, Connection] = field(default_factory=dict)
    lost: int = 0
    done: tuple[int, int] = (0, 0)

    def run(self) -> None:
        """Start the workers and wait until they find nothing left to do."""
        try:
            for _ in range(self.work.config.search.workers):
                self._start()
            while self.workers:
                wait([process.sentinel for process in self.workers], POLL_SECONDS)
                for process in [process for process in self.workers if not process.is_alive()]:
                    self._replace(process)
                self.update()
        finally:
            self._stop()

    def _start(self) -> None:
        ours, theirs = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.get_context("spawn").Process(
            target=_worker, args=(self.work, theirs), name=f"worker of {self.work.study}"
        )
        with _threads(self.work.config.trainer.threads):
            process.start()
        theirs.close()
        self.workers[process] = ours

    def _replace(self, process: SpawnProcess) -> None:
        """Start another worker for one that was killed; raise what one that failed said."""
        said = _last_words(self.workers.pop(process))
        if process.exitcode == 0:
            return
        if said is not None:
            kind, message = said
            raise UserError(message) if kind == "person" else WorkerError(message)
        self._refuse_to_lose_for_ever(process)
        self._start()

    def _refuse_to_lose_for_ever(self, process: SpawnProcess) -> None:
        trials = self.study.get_trials(deepcopy=False)
        done = len(counted(self.study)), sum(trial.user_attrs.get(DEATHS, 0) for trial in trials)
        self.lost = self.lost + 1 if done == self.done else 1
        self.done = done
        search = self.work.config.search
        if self.lost > search.attempts * search.workers:
            raise UserError(
                f"{self.lost} workers died one after another before they finished a trial "
                f"(the last with status {process.exitcode}; -9 is most often too little memory).\n"
                f"  fewer at once may fit: search.workers={max(1, search.workers // 2)}"
            )

    def _stop(self) -> None:
        """End every worker; what they ran goes back to waiting."""
        processes = set()
        for process in self.workers:
            with suppress(psutil.NoSuchProcess):
                processes.add(identity(process.pid))
            process.terminate()
        try:
            deadline = time.monotonic() + STOP_SECONDS
            for process in self.workers:
                process.join(max(0.0, deadline - time.monotonic()))
        finally:
            for process in self.workers:
                process.kill()
                process.join()
            if processes:
                give_back(self.study, processes)


def _worker(work: Work, pipe: Connection) -> None:
    """Do the work in a process of its own."""
    _die_with_parent()
    # Ctrl-C reaches all processes of a terminal: the parent alone decides what it means
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        work.do()
    except KeyboardInterrupt:
        sys.exit(130)
    except UserError as error:
        pipe.send(("person", str(error)[:LAST_WORDS]))
        sys.exit(1)
    except BaseException:
        pipe.send(("bug", traceback.format_exc()[-LAST_WORDS:]))
        sys.exit(1)


def _interrupt(*_: object) -> None:
    """Interrupt once: a second signal must not interrupt the giving back."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def _die_with_parent() -> None:
    """End at once when the parent is killed, or this worker would run beside the next parent's."""
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
    """Let processes started in the block use `count` threads: OpenMP reads this when it is loaded."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = str(count)
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before
