"""The share of the machine this process may use, and its place among those that train together."""

import atexit
import ctypes
import gc
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

GIBIBYTE = 2**30

_BY_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK")
"""The variables torchrun gives each process. Other launchers set some of them for their own ends."""


def cores() -> int:
    """Count the processor cores this process may use (a container may be given fewer than there are)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cores_each() -> int:
    """Return this process's share of the cores where torchrun started several on this machine; 1 or more."""
    return max(1, cores() // local_world_size())


def start_threads_sparingly() -> None:
    """Set how threads wait and how many NumPy has, before it and torch are loaded and unless the environment
    says otherwise.

    Threads that spin while they wait would take the second core of a small machine from everything else. And
    NumPy is asked for thousands of small products, where threads only wait for each other: solving a head on
    224 pictures and their mirror images took 0.5 seconds with one and 23 with two.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def keep_freed_memory() -> None:
    """Let this process keep the memory it frees for what it needs next, but for blocks of 40 MiB or more
    (glibc; elsewhere nothing happens).

    Every training step frees and takes the same hundreds of megabytes. By default they go back to the system
    and come again page by page; with two threads, a training step was 1.05 to 1.15 times as fast without that
    (mallopt(3)). Kept too, the largest blocks left holes that nothing else fitted: steps of 32 photographs
    at 224 px took 0.3 to 0.8 GB more for it (of 3.6), and a tenth less time.
    """
    library = _c_library()
    # some versions allow no more than 32 MiB; if neither is allowed, the other alone would make it worse
    if library is not None and any(library.mallopt(_MMAP_THRESHOLD, size) for size in (40 * 2**20, 2**25)):
        library.mallopt(_TRIM_THRESHOLD, 2**31 - 1)


def return_freed_memory() -> None:
    """Give back what `keep_freed_memory` kept."""
    library = _c_library()
    if library is not None:
        library.malloc_trim(0)


_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Of malloc.h."""


@cache
def _c_library() -> Any:
    """Return glibc; None where the C library is another one."""
    try:
        library = ctypes.CDLL("libc.so.6")
        return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
    except OSError:
        return None


@contextmanager
def loading() -> Iterator[None]:
    """Collect no garbage while the block imports large libraries, and look for none later in what the first
    such block of a process made: there is hardly any, and looking for it takes a fifth of the time.

    What was computed before a later block is not left out: a network in a cycle would never be given back.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:  # of blocks in one another, the outermost has seen all that was imported
            set_aside()
            gc.enable()


@cache
def set_aside() -> None:
    """Leave all that there is now out of every later search for garbage; a second call does nothing."""
    gc.freeze()
    # or libraries that look for what was not given back at the end complain
    atexit.register(gc.unfreeze)


@contextmanager
def ending_at_once(program: str) -> Iterator[None]:
    """End the process after the block, with its exit status, if `program` is the name of the script that the
    process was started with: what is registered to run at the end runs, but memory is not taken apart first.

    Python looks through all modules for garbage at its end. That took 2 seconds of 9 where little was done
    but to load torch and timm. After an error the process ends as always.
    """
    statuses: list[int] = []
    if Path(sys.argv[0]).stem == program and sys.argv[0] in sys.orig_argv:
        # what is registered first runs last
        atexit.register(_end, statuses)
    try:
        yield
    except SystemExit as end:
        if isinstance(end.code, int):
            statuses.append(end.code)
        raise
    statuses.append(0)


def _end(statuses: list[int]) -> None:
    if not statuses:
        return
    logging.shutdown()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        return  # Python has words for it
    os._exit(statuses[-1])


def by_torchrun() -> bool:
    """Return True when torchrun started this process, alone or with others."""
    return all(name in os.environ for name in _BY_TORCHRUN)


def rank() -> int:
    """Return the index of this process among those that train together, on all machines; 0 when alone."""
    return _told("RANK", 0)


def world_size() -> int:
    """Return the number of processes that train together, on all machines."""
    return _told("WORLD_SIZE", 1)


def local_rank() -> int:
    """Return the index of this process among those on this machine."""
    return _told("LOCAL_RANK", 0)


def local_world_size() -> int:
    """Return the number of processes on this machine that train together."""
    return _told("LOCAL_WORLD_SIZE", 1)


def leads() -> bool:
    """Return True for the one process that writes files, records runs and shows progress."""
    return rank() == 0


def _told(name: str, alone: int) -> int:
    return int(os.environ[name]) if by_torchrun() else alone
