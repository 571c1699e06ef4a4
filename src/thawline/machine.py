"""What this process may use of the machine."""

import os


def cores() -> int:
    """The processor cores this process may use (a container may be given fewer than there are)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
