"""What this process may use of the machine, and which of the processes that train together it is."""

import ctypes
import os
from functools import cache
from typing import Any

_BY_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK")
"""What torchrun tells each process that it starts. Other launchers set some of these for their own ends."""


def cores() -> int:
    """The processor cores this process may use (a container may be given fewer than there are)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cores_each() -> int:
    """This process's share of the cores where torchrun started several on this machine; 1 or more."""
    return max(1, cores() // local_world_size())


def keep_freed_memory() -> None:
    """Let this process keep the memory it frees for what it needs next (glibc; elsewhere nothing happens).

    Every training step frees and takes the same hundreds of megabytes. By default they go back to the system
    and come again page by page; with two threads, a training step was 1.05 to 1.15 times as fast without that
    (mallopt(3)).
    """
    library = _c_library()
    # some versions allow no more than 32 MiB; if neither is allowed, the other alone would make it worse
    if library is not None and any(library.mallopt(_MMAP_THRESHOLD, size) for size in (2**30, 2**25)):
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
    """glibc; None where the C library is another one."""
    try:
        library = ctypes.CDLL("libc.so.6")
        return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
    except OSError:
        return None


def by_torchrun() -> bool:
    """Whether torchrun started this process, alone or with others."""
    return all(name in os.environ for name in _BY_TORCHRUN)


def rank() -> int:
    """Which of the processes that train together this is, on all machines; 0 where there is one."""
    return _told("RANK", 0)


def world_size() -> int:
    """How many processes train together, on all machines."""
    return _told("WORLD_SIZE", 1)


def local_rank() -> int:
    """Which of the processes on this machine this is."""
    return _told("LOCAL_RANK", 0)


def local_world_size() -> int:
    """How many of the processes that train together are on this machine."""
    return _told("LOCAL_WORLD_SIZE", 1)


def leads() -> bool:
    """Whether this process is the one that writes files, records runs and shows progress."""
    return rank() == 0


def _told(name: str, alone: int) -> int:
    return int(os.environ[name]) if by_torchrun() else alone
