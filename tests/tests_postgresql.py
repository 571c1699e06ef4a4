"""A PostgreSQL server of our own for the length of a test."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))


@contextmanager
def server() -> Iterator[str]:
    """Address of a new server with an empty database. Skips where PostgreSQL is missing, except in CI."""
    if not BINARIES:
        missing = "PostgreSQL is not installed: apt-get install postgresql"
        pytest.fail(missing) if os.environ.get("CI") == "true" else pytest.skip(missing)
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    if os.geteuid() == 0:
        os.chown(folder, pwd.getpwnam("postgres").pw_uid, -1)
    port = free_port()
    try:
        command(folder, "initdb", "-D", str(folder / "data"), "-U", "studies", "--no-sync", "-A", "trust")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
        log = str(folder / "log")
        command(folder, "pg_ctl", "-D", str(folder / "data"), "-w", "-l", log, "-o", options, "start")
        yield f"postgresql+psycopg2://studies@127.0.0.1:{port}/postgres"
    finally:
        command(folder, "pg_ctl", "-D", str(folder / "data"), "-m", "immediate", "stop", check=False)
        shutil.rmtree(folder)


def command(folder: Path, name: str, *arguments: str, check: bool = True) -> None:
    # a server refuses to run as root
    other = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*other, str(BINARIES[-1] / name), *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == 0 or not check, done.stderr


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
