"""Disturb the whole pipeline at random moments, and say what the next run of the same command makes of it.

    python tools/chaos.py kill FOLDER --times 30     kill -9: the whole, the stage at work, or DVC alone
    python tools/chaos.py full FOLDER --times 10     a full disk (root on Linux: it mounts a tmpfs)
    python tools/chaos.py server FOLDER --times 5    the MLflow server is stopped, and started later
    python tools/chaos.py same FOLDER                two clones, elsewhere, later, beside other work

Works on the embedded data, in clones of this checkout's last commit below FOLDER, which it makes and empties.
What counts is the end: the files of an undisturbed run byte for byte (but for costs), every MLflow run once
and none RUNNING, no temporary file. Prints a table in Markdown, a row when it is known, and exits with 1
where something was lost.
"""

import argparse
import csv
import hashlib
import json
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import psutil

ROOT = Path(__file__).resolve().parents[1]

SETTINGS = (
    *("source.glyphs_per_class=2", "input.size=16", "pretrain.epochs=2", "model.architecture=resnet18"),
    *("finetune.epochs=2", "finetune.seeds=2", "search.trials=3", "search.validation=holdout"),
    *("contenders=[finetuned, linear_probe]", "evaluate.resamples=20"),
)
"""A pipeline of a minute, in which every stage has something to do."""

COSTS = (
    *("costs.json", "seconds.json", "README.md", "index.html"),
    *("cost-light.svg", "cost-dark.svg", "best_so_far-light.svg", "best_so_far-dark.svg"),
)
"""Files that say what was measured by the clock."""

CLOCK = {"seconds", "started", "finished", "worker"}
"""Columns of tables that say the same."""

DEADLINE = 900
"""Seconds after which a run hangs."""


@dataclass
class Outcome:
    """What a finished run left: a hash for each file, and MLflow's runs by name and state."""

    files: dict[str, str]
    runs: Counter[tuple[str, str]]


@dataclass
class Clone:
    """A clone of this checkout's last commit with a small configuration, and the command that runs in it."""

    root: Path
    command: tuple[str, ...] = ("dvc", "repro")
    settings: tuple[str, ...] = SETTINGS
    said: list[str] = field(default_factory=list)

    def make(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        self._run("git", "clone", "--quiet", str(ROOT), str(self.root), at=ROOT)
        self._run("sh", "tools/git_identity.sh")
        self._run("git", "rm", "-rq", "dvc.lock", "reports")
        self._run(sys.executable, "-m", "thawline.config", "--write", *self.settings)
        self._run("git", "commit", "-qam", "small")

    def _run(self, *command: str, at: Path | None = None) -> None:
        subprocess.run(command, cwd=at or self.root, env=environment(self.root), check=True)

    def empty(self) -> None:
        """Make the clone as if nothing had ever run in it."""
        self._run("git", "checkout", "-q", ".")
        self._run("git", "clean", "-xdfq")
        for kept in (".dvc/cache", ".dvc/tmp", ".git/refs/exps"):
            shutil.rmtree(self.root / kept, ignore_errors=True)

    @contextmanager
    def started(self) -> Iterator[psutil.Popen]:
        """Start the command; what it says goes to a file, from which `stage` and `words` read."""
        with open(self.log, "w") as log:  # noqa: PTH123
            process = psutil.Popen(
                self.command,
                cwd=self.root,
                env=environment(self.root),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                yield process
            finally:
                for each in everyone(process):
                    with suppress(psutil.NoSuchProcess):
                        each.kill()
                process.wait()

    def finish(self) -> int:
        """Run the command to its end; return its exit status."""
        with self.started() as process:
            return int(process.wait(DEADLINE))

    @property
    def log(self) -> Path:
        return self.root.with_name(f"{self.root.name}.log")

    @property
    def words(self) -> str:
        return self.log.read_text(errors="replace")

    def stages(self) -> list[str]:
        """List the stages that the last command said it runs."""
        lines = [line for line in self.words.splitlines() if line.startswith("Running stage '")]
        return [line.split("'")[1] for line in lines]

    def outcome(self) -> Outcome:
        files = {}
        for folder in ("artifacts", "reports"):
            for path in sorted((self.root / folder).rglob("*")):
                if path.is_file() and path.name not in COSTS and path.name != ".gitignore":
                    name = path.relative_to(self.root).as_posix()
                    files[name] = hashlib.sha256(content_of(path)).hexdigest()
        return Outcome(files, runs_in(self.root / "mlflow.db"))


def content_of(path: Path) -> bytes:
    """Return what is in a file, of a table without the columns that the clock wrote."""
    if path.suffix != ".csv":
        return path.read_bytes()
    with path.open(newline="", encoding="utf-8") as file:
        rows = [
            {name: cell for name, cell in row.items() if name not in CLOCK} for row in csv.DictReader(file)
        ]
    return json.dumps(rows).encode()


def environment(root: Path) -> dict[str, str]:
    """Return this environment with this interpreter first, and the clone's own code in front."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DVC_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    return {**kept, "PATH": path, "PYTHONPATH": str(root / "src"), "OMP_NUM_THREADS": "1"}


def runs_in(database: Path) -> Counter[tuple[str, str]]:
    """Count MLflow's runs that were not interrupted, by name and status; none where a server keeps them."""
    if not database.exists():
        return Counter()
    query = "select name, status from runs where lifecycle_stage = 'active' and status != 'KILLED'"
    with sqlite3.connect(database) as connection:
        return Counter((name, status) for name, status in connection.execute(query))


def everyone(process: psutil.Popen) -> list[psutil.Process]:
    """List the process and all below it."""
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def lost(clone: Clone, expected: Outcome, status: int) -> list[str]:
    """Say what is not as after an undisturbed run; nothing where all is."""
    if status != 0:
        return [f"ended with {status}: {clone.words.strip().splitlines()[-1]}"]
    found = clone.outcome()
    names = expected.files.keys() | found.files.keys()
    other = sorted(name for name in names if expected.files.get(name) != found.files.get(name))
    problems = [f"other bytes: {', '.join(other)}"] if other else []
    if said := differences(found.runs, expected.runs):
        problems.append(said)
    partial = [path.name for path in (clone.root / "artifacts").rglob("*.partial")]
    return problems + ([f"temporary files: {', '.join(partial)}"] if partial else [])


def differences(found: Counter[tuple[str, str]], expected: Counter[tuple[str, str]]) -> str:
    """Say which of MLflow's runs there are too many or too few of; nothing where all is as expected."""
    more, fewer = found - expected, expected - found
    return f"MLflow has {dict(more)} more, {dict(fewer)} fewer" if more or fewer else ""


def undisturbed(folder: Path, settings: tuple[str, ...] = SETTINGS) -> tuple[Outcome, float]:
    """Run the pipeline in a clone of its own; return what it left and its seconds."""
    calm = Clone(folder / "calm", settings=settings)
    calm.make()
    started = time.monotonic()
    if calm.finish() != 0:
        raise SystemExit(f"the undisturbed run failed:\n{calm.words[-2000:]}")
    return calm.outcome(), time.monotonic() - started


def row(out: TextIO, *cells: object) -> None:
    """Write a row of the table at once."""
    out.write("| " + " | ".join(str(cell) for cell in cells) + " |\n")
    out.flush()


def head(out: TextIO, *cells: str) -> None:
    """Write the head of a table."""
    row(out, *cells)
    row(out, *("---" for _ in cells))


def victims(process: psutil.Popen, whom: str) -> list[psutil.Process]:
    """Choose who is killed: `all`, `stage` (the script at work and what it started), or `dvc`."""
    found = everyone(process)
    if whom == "dvc":
        return found[:1]
    if whom == "stage":
        at_work = [each for each in found[1:] if "pipelines/" in " ".join(each.cmdline())]
        return at_work or found[:1]
    return found


def kill_once(clone: Clone, after: float, whom: str) -> tuple[str, str]:
    """Run the command, kill it after some seconds; return the stage that was hit and what was left. Where the
    command ended before that, the stage is empty."""
    with clone.started() as process:
        with suppress(psutil.TimeoutExpired):
            process.wait(after)
            return "", f"ended with {process.returncode} before"
        found = everyone(process)
        for each in victims(process, whom):
            with suppress(psutil.NoSuchProcess):
                each.kill()
        alive = psutil.wait_procs(found, timeout=30)[1]
    hit = (clone.stages() or ["before the first"])[-1]
    partial = sum(1 for _ in (clone.root / "artifacts").rglob("*.partial"))
    return hit, f"{partial} temporary files" + (f", {len(alive)} still at work" if alive else "")


def kill(folder: Path, times: int, seed: int, out: TextIO) -> bool:
    """Kill the pipeline `times` times, five times on the way to each end; return whether nothing was lost."""
    expected, seconds = undisturbed(folder)
    out.write(f"undisturbed: {seconds:.0f} s, {len(expected.files)} files\n\n")
    head(out, "kill", "after", "whom", "stage", "left", "the next run")
    chance, clone, good = random.Random(seed), Clone(folder / "disturbed"), True
    clone.make()
    for number in range(1, times + 1):
        whom = chance.choice(("all", "stage", "dvc"))
        # a share of what is still to do, so that late stages are hit as well
        after = chance.uniform(1, max(seconds / 3, 5))
        hit, left = kill_once(clone, after, whom)
        said = "went on"
        if number % 5 == 0 or number == times or not hit:
            status = clone.finish()
            problems = lost(clone, expected, status)
            good &= not problems
            said = f"came to the end over {', '.join(clone.stages()) or 'nothing'}: "
            said += "; ".join(problems) or "all as undisturbed"
            clone.empty()
        row(out, number, f"{after:.1f} s", whom, hit or "none", left, said)
    return good


@contextmanager
def small_disk(where: Path, size: int) -> Iterator[None]:
    """Mount a tmpfs of `size` bytes at `where`."""
    where.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(where)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(where)], check=True)


def used_by(folder: Path) -> int:
    """Return the bytes on disk below a folder."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def full(folder: Path, times: int, seed: int, out: TextIO) -> bool:
    """Let the disk be full at `times` places of the way; return whether nothing was lost."""
    expected, _ = undisturbed(folder)
    needed = used_by(folder / "calm")
    head(out, "size of the disk", "stage", "said", "traceback", "the next run, with room")
    chance, good = random.Random(seed), True
    for _ in range(times):
        disk = folder / "small"
        clone = Clone(disk / "clone")
        with small_disk(disk, 2 * needed):
            clone.make()
            base = used_by(disk)
            size = int(base + chance.uniform(0.02, 0.98) * (needed - base))
            subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True)
            status = clone.finish()
            hit, words = (clone.stages() or ["none"])[-1], clone.words
            errors = [line for line in words.splitlines() if "rror" in line or "space" in line.lower()]
            subprocess.run(["mount", "-o", f"remount,size={4 * needed}", str(disk)], check=True)
            traceback = "Traceback" in words
            problems = lost(clone, expected, clone.finish())
            for name, said in (("full", words), ("after", clone.words)):
                (folder / f"{size >> 20}-{name}.log").write_text(said)
            good &= not problems and not (status and traceback)
        row(
            out,
            *(f"{size / 2**20:.1f} MiB", hit, (errors or ["nothing" if status else "it sufficed"])[-1][:100]),
            *("yes" if traceback else "no", "; ".join(problems) or "all as undisturbed"),
        )
    return good


@contextmanager
def mlflow_server(folder: Path, port: int) -> Iterator[None]:
    """Serve MLflow from `folder` until the block ends, then stop the server at once."""
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    with open(folder / "server.log", "a") as log:  # noqa: PTH123
        server = psutil.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + 120
            while True:
                with suppress(OSError):
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                    break
                if time.monotonic() > deadline or server.poll() is not None:
                    raise SystemExit(f"MLflow's server does not answer, see {folder / 'server.log'}")
                time.sleep(0.5)
            yield
        finally:
            for each in everyone(server):
                with suppress(psutil.NoSuchProcess):
                    each.send_signal(signal.SIGKILL)
            server.wait()


def server(folder: Path, times: int, seed: int, out: TextIO) -> bool:
    """Stop the MLflow server at `times` moments, start it again later; return whether nothing was lost."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = (*SETTINGS, f"tracking.uri=http://127.0.0.1:{port}")
    store = folder / "server"
    shutil.rmtree(store, ignore_errors=True)
    store.mkdir(parents=True)
    with mlflow_server(store, port):
        calm, seconds = undisturbed(folder, settings)
    expected = Outcome(calm.files, runs_in(store / "mlflow.db"))
    head(out, "stopped after", "stage", "ended with", "MLflow afterwards, and the files")
    chance, good = random.Random(seed), True
    clone = Clone(folder / "disturbed", settings=settings)
    clone.make()
    for _ in range(times):
        shutil.rmtree(store)
        store.mkdir()
        after = chance.uniform(2, seconds - 5)
        with clone.started() as process:
            with mlflow_server(store, port):
                time.sleep(after)
                hit = (clone.stages() or ["none"])[-1]
            time.sleep(20)
            with mlflow_server(store, port):
                status = process.wait(DEADLINE)
        problems = lost(clone, Outcome(expected.files, Counter()), int(status))
        if found := differences(runs_in(store / "mlflow.db"), expected.runs):
            problems.append(found)
        good &= not problems
        row(out, f"{after:.0f} s", hit, status, "; ".join(problems) or "all as undisturbed")
        clone.empty()
    return good


def same(folder: Path, _times: int, _seed: int, out: TextIO) -> bool:
    """Compare two clones of different names and depths, the second beside a process that takes a core."""
    expected, seconds = undisturbed(folder)
    other = Clone(folder / "further down" / "a clone of another name")
    other.root.parent.mkdir(parents=True, exist_ok=True)
    other.make()
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        problems = lost(other, expected, other.finish())
    finally:
        busy.kill()
        busy.wait()
    out.write(f"{len(expected.files)} files, {seconds:.0f} s: {'; '.join(problems) or 'the same bytes'}\n")
    return not problems


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("how", choices=("kill", "full", "server", "same"))
    parser.add_argument("folder", type=Path, help="made anew; outside the checkout")
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    folder = given.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    disturb = {"kill": kill, "full": full, "server": server, "same": same}[given.how]
    sys.exit(0 if disturb(folder, given.times, given.seed, sys.stdout) else 1)


if __name__ == "__main__":
    main()
