"""The origin of a run: commit, person, script, process."""

import getpass
import os
import socket
import subprocess
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

import psutil

CLOCK_TOLERANCE_SECONDS = 2.0


@cache
def origin(root: Path) -> dict[str, str]:
    """Return MLflow's own tags for user, script and commit (the pages show those by name), and if tracked
    files differ from the commit. Outside git, or without git, the last two are absent."""
    tags = {"mlflow.source.name": Path(sys.argv[0]).name, "mlflow.source.type": "LOCAL"}
    with suppress(KeyError, OSError):
        tags["mlflow.user"] = getpass.getuser()
    with suppress(OSError, subprocess.SubprocessError):
        tags["mlflow.source.git.commit"] = _git(root, "rev-parse", "HEAD")
        # the pipeline itself writes dvc.lock and reports/ while it runs
        code = ("--", ".", ":(exclude)dvc.lock", ":(exclude)reports")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no", *code)
        tags["git_dirty"] = "true" if changed else "false"
    return tags


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()


def this_process() -> str:
    """Name this process so that no other, here or elsewhere, has the same name."""
    return identity(os.getpid())


def identity(number: int | None) -> str:
    """Name another process on this machine as `this_process` would. Raises `psutil.NoSuchProcess`."""
    return f"{socket.gethostname()} {number} {psutil.Process(number).create_time():.2f}"


def is_elsewhere(process: str) -> bool:
    """Tell if `process` (as `this_process` wrote it) ran on another machine."""
    return process.partition(" ")[0] != socket.gethostname()


def is_dead(process: str) -> bool:
    """Tell if `process` (as `this_process` wrote it) ran on this machine and is gone. Its start time tells it
    from a later process that was given the same number."""
    rest = process.partition(" ")[2]
    if is_elsewhere(process) or not rest:
        return False
    number, started = rest.split()
    try:
        found = psutil.Process(int(number))
        same = abs(found.create_time() - float(started)) < CLOCK_TOLERANCE_SECONDS
        return not same or found.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False
