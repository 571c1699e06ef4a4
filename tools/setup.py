"""Make .venv hold what pyproject.toml asks for, at the versions of constraints.txt.

Only the standard library is there yet. When nothing changed since the last complete set-up, this ends
at once; an interrupted one is never taken for a complete one.
"""

import fcntl
import hashlib
import json
import os
import platform
import shutil
import ssl
import subprocess
import sys
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "setup.json"
WORK = ROOT / "build"
NEEDED_GB = 7
LINE = 160

QUIET = {
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_ROOT_USER_ACTION": "ignore",
    "PIP_NO_INPUT": "1",
    "PIP_PROGRESS_BAR": "off",
}

DISK_FULL = ("No space left on device", "os error 28", "Errno 28", "quota exceeded", "os error 122")
REASONS = {
    DISK_FULL: (
        "The disk is full.\n"
        f"  The packages need about {NEEDED_GB} GB below {{root}}, and room to unpack in the folders for\n"
        "  temporary and cached files. Make room, or move them: TMPDIR=... UV_CACHE_DIR=... make ..."
    ),
    (
        "Temporary failure in name resolution",
        "Name or service not known",
        "nodename nor servname",
        "dns error",
        "client error (Connect)",
        "Max retries exceeded",
        "NewConnectionError",
        "ConnectTimeout",
        "Connection refused",
        "Network is unreachable",
    ): (
        "The package index cannot be reached.\n"
        "  Is this machine online? Behind a proxy, set HTTPS_PROXY. With a mirror of your own,\n"
        "  set UV_DEFAULT_INDEX (and PIP_INDEX_URL). Then run the same command again."
    ),
    ("Permission denied", "os error 13", "Errno 13", "Read-only file system"): (
        "A file or folder cannot be written.\n"
        "  The message above names it. Folders made by another account (often root) are the usual reason."
    ),
    ("No matching distribution", "No solution found", "has no wheels with a matching"): (
        "The package index has no build of a pinned version for this machine ({machine}).\n"
        "  constraints.txt is made for Python 3.11 and 3.12 on Linux (x86-64, arm64) and macOS (arm64)."
    ),
    ("ensurepip", "No module named venv", "No module named pip"): (
        "This Python cannot make virtual environments.\n"
        "  Debian, Ubuntu: sudo apt-get install python3-venv, then run the same command again."
    ),
}


class SetUpError(Exception):
    """What went wrong, in words for the person who typed make."""


def main() -> int:
    if is_complete():
        return 0
    WORK.mkdir(exist_ok=True)
    with (WORK / "setup.lock").open("w") as lock:
        wait_for(lock)
        try:
            if not is_complete():
                set_up()
        except SetUpError as error:
            say(f"\nSet-up stopped. {error}")
            return 1
        except KeyboardInterrupt:
            say("\nSet-up interrupted; the next make starts it afresh.")
            return 130
    return 0


def set_up() -> None:
    say(f"Setting up .venv with Python {platform.python_version()}; the first time this takes some minutes.")
    warn_of_little_space()
    make_environment()
    install()
    run([str(PYTHON), "-c", "import thawline"], "The installed package cannot be imported.")
    write_stamp("complete")
    say("Set-up complete. Next: source .venv/bin/activate")


# The stamp


def expected() -> dict[str, str]:
    """What a complete environment was made from. A moved one is useless: its scripts hold its path."""
    digest = hashlib.sha256()
    for name in ("pyproject.toml", "constraints.txt"):
        digest.update((ROOT / name).read_bytes() + b"\0")
    return {"python": platform.python_version(), "path": str(VENV), "files": digest.hexdigest()}


def is_complete() -> bool:
    return PYTHON.exists() and read_stamp() == {"state": "complete", **expected()}


def read_stamp() -> dict[str, str]:
    """The stamp; empty where there is none, as in an environment made by hand."""
    try:
        return dict(json.loads(STAMP.read_text()))
    except FileNotFoundError:
        return {}
    except ValueError:
        return {"state": "damaged"}


def write_stamp(state: str) -> None:
    STAMP.parent.mkdir(exist_ok=True)
    temporary = STAMP.with_suffix(".partial")
    temporary.write_text(json.dumps({"state": state, **expected()}))
    temporary.replace(STAMP)


# The environment


def make_environment() -> None:
    """Keep an environment that is ours and whole, or made by hand for the same Python; replace one
    that an interrupted set-up, another Python or another folder left."""
    stamp = read_stamp()
    wanted = expected()
    if not stamp and VENV.exists():
        refuse_other_python()
    elif stamp and (stamp.get("state"), stamp.get("python"), stamp.get("path")) != (
        "complete",
        wanted["python"],
        wanted["path"],
    ):
        say("Replacing .venv, which belongs to an interrupted set-up, another Python or another folder.")
        remove_environment()
    fresh = not PYTHON.exists()
    # before anything else is written: what is interrupted from here on must not look made by hand
    write_stamp("incomplete")
    if fresh:
        create(base_python())


def refuse_other_python() -> None:
    show = [str(PYTHON), "-c", "import platform; print(platform.python_version())"]
    try:
        version = subprocess.run(show, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        version = "missing or broken"
    if version != platform.python_version():
        raise SetUpError(
            f"{VENV} was not made by this set-up, and its Python is {version}, "
            f"not {platform.python_version()}.\n  Move it away, then run the same command again."
        )


def remove_environment() -> None:
    """Out of the way in one step, so that being interrupted here leaves no half of it."""
    grave = WORK / f"old-venv-{os.getpid()}"
    VENV.replace(grave)
    shutil.rmtree(grave, ignore_errors=True)


def base_python() -> str:
    """The Python behind the one that runs this, which may be the environment's own."""
    return getattr(sys, "_base_executable", None) or sys.executable


def create(python: str) -> None:
    if run([python, "-m", "venv", str(VENV)], None) == 0:
        return
    # Debian keeps the part of venv that brings pip in a package of its own; a pip beside Python will do
    shutil.rmtree(VENV / "bin", ignore_errors=True)
    run([python, "-m", "venv", "--without-pip", str(VENV)], "No virtual environment could be made.")
    if not shutil.which("uv"):
        run([python, "-m", "pip", "--python", str(PYTHON), "install", "pip"], "pip could not be installed.")


# The packages


def install() -> None:
    """With uv, which needs one minute where pip needs six; with pip where uv fails (say, because only
    pip knows of a mirror)."""
    wanted = ["-c", str(ROOT / "constraints.txt"), "-e", f"{ROOT}[dev]"]
    uv = find_uv()
    if uv and run([*uv, "pip", "install", "--python", str(PYTHON), "--compile-bytecode", *wanted], None) == 0:
        return
    say("uv did not succeed; trying pip, which takes longer.")
    run([str(PYTHON), "-m", "pip", "install", *wanted], "The packages could not be installed.")


def find_uv() -> list[str] | None:
    command = [str(PYTHON), "-m", "uv"]
    if run([str(PYTHON), "-m", "pip", "install", "--quiet", "--retries", "1", "uv"], None) == 0:
        return command
    elsewhere = shutil.which("uv")
    return [elsewhere] if elsewhere else None


# Saying what happens


def run(command: list[str], failure: str | None) -> int:
    """Run `command`, passing on what it says; its exit status. A full disk always stops the set-up,
    another failure does where `failure` says what it means."""
    lines = []
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment(),
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            # uv lists every package it installed
            if not line.startswith((" + ", " - ", " ~ ")):
                say(f"  {line.rstrip()[:LINE]}")
    said = "".join(lines)
    if process.returncode != 0 and (failure or is_full(said)):
        raise SetUpError(explain(said, failure or "", process.returncode))
    return process.returncode


def environment() -> dict[str, str]:
    """The caller's environment without what would lead the installers to another one."""
    unwanted = ("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONHOME", "PYTHONPATH", "UV_PROJECT_ENVIRONMENT")
    kept = {key: value for key, value in os.environ.items() if key not in unwanted} | QUIET
    # as pip does: behind a company's proxy only the machine's own certificates are right
    return {"UV_SYSTEM_CERTS": "1"} | kept if has_certificates() else kept


def has_certificates() -> bool:
    paths = ssl.get_default_verify_paths()
    return bool(paths.cafile or (paths.capath and any(Path(paths.capath).iterdir())))


def is_full(said: str) -> bool:
    return any(sign.lower() in said.lower() for sign in DISK_FULL)


def explain(said: str, failure: str, status: int) -> str:
    """Why a command that said `said` failed, and what to do about it."""
    for signs, reason in REASONS.items():
        if any(sign.lower() in said.lower() for sign in signs):
            machine = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
            return reason.format(root=ROOT, machine=machine)
    if status in (-9, 137):
        return f"{failure}\n  The installer was killed; most often that means too little memory."
    return f"{failure}\n  The last lines above are the installer's own message."


def warn_of_little_space() -> None:
    free_gb = shutil.disk_usage(ROOT).free / 1e9
    if free_gb < NEEDED_GB and not VENV.exists():
        say(f"Only {free_gb:.1f} GB are free below {ROOT}; about {NEEDED_GB} GB are needed.")


def wait_for(lock: IO[str]) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("Another set-up of this folder is running; waiting for it.")
        fcntl.flock(lock, fcntl.LOCK_EX)


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
