"""Disturb the whole pipeline at random moments, and say what the next run of the same command makes of it.

    python tools/chaos.py kill FOLDER --times 20     kill -9 of `dvc repro`: all, the stage at work, or DVC
    python tools/chaos.py fit FOLDER --times 10      the same of `thawline fit`, which has a clock and a plan
    python tools/chaos.py full FOLDER --times 10     a full disk (root on Linux: it mounts a tmpfs)
    python tools/chaos.py server FOLDER --times 5    the MLflow server is stopped, and started later
    python tools/chaos.py same FOLDER                two clones, elsewhere, later, beside other work

Works on the embedded data (`fit`: on drawn pictures, from ImageNet weights), in clones of this checkout's
last commit below FOLDER, which it makes and empties. What counts is the end: the files of an undisturbed run
byte for byte (but for costs), every MLflow run once and none RUNNING, no temporary file. Where a clock
decides how much is done (`fit`), no bytes are compared: the model and the page must be there and every file
whole. Prints a table in Markdown, a row when it is known, and exits with 1 where something was lost. The
undisturbed run in FOLDER/calm is made once, for all of them.
"""

import argparse
import csv
import hashlib
import json
import os
import random
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
import psutil
from PIL import Image

from thawline.config.errors import UserError
from thawline.fit import require_whole_files

ROOT = Path(__file__).resolve().parents[1]

SETTINGS = (
    *("source.glyphs_per_class=2", "input.size=16", "pretrain.epochs=2", "model.architecture=resnet18"),
    *("finetune.epochs=2", "finetune.seeds=2", "search.trials=3", "search.validation=holdout"),
    *("contenders=[finetuned, linear_probe]", "evaluate.resamples=20"),
)
"""A pipeline of a minute, in which every stage has something to do."""

FIT = ("-S", "input.size=64")
"""What `thawline fit` is told, from ImageNet weights; the rest is for its plan to decide."""

COSTS = (
    *("costs.json", "seconds.json", "README.md", "index.html"),
    *("cost-light.svg", "cost-dark.svg", "best_so_far-light.svg", "best_so_far-dark.svg"),
)
"""Files that say what was measured by the clock."""

CLOCK = {"seconds", "started", "finished", "worker"}
"""Columns of tables that say the same."""

DEADLINE = 900
"""Seconds after which a run hangs."""

ON_ONE_WAY = 10
"""So many disturbances come on the way to one end, at most."""


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
    place_of_log: Path | None = None

    def make(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        self._run("git", "clone", "--quiet", str(ROOT), str(self.root), at=ROOT)
        self._run("sh", "tools/git_identity.sh")
        self._run("git", "rm", "-rq", "reports")
        (self.root / "dvc.lock").write_text("schema: '2.0'\n")
        self._run(sys.executable, "-m", "thawline.config", "--write", *self.settings)
        self._run("git", "commit", "-qam", "small")

    def _run(self, *command: str, at: Path | None = None) -> None:
        subprocess.run(command, cwd=at or self.root, env=environment(self.root), check=True)

    def empty(self) -> None:
        """Make the clone as if nothing had ever run in it."""
        self._run("git", "reset", "-q", "--hard")
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
                end(everyone(process))

    def finish(self) -> int:
        """Run the command to its end; return its exit status."""
        with self.started() as process:
            return int(process.wait(DEADLINE))

    @property
    def log(self) -> Path:
        return self.place_of_log or self.root.with_name(f"{self.root.name}.log")

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
    """List the process, which began a session, and all of its session: also those whose parent is dead."""
    found = [process]
    for each in psutil.process_iter():
        with suppress(ProcessLookupError):
            if os.getsid(each.pid) == process.pid and each.pid != process.pid:
                found.append(each)
    return found


def end(processes: list[psutil.Process]) -> None:
    """Kill processes and wait until they are gone. One that nobody has waited for yet is still listed, DVC
    takes it for one at work, and where it lost its parent it may stay so for seconds."""
    for each in processes:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    if left := psutil.wait_procs(processes, timeout=60)[1]:
        raise SystemExit(f"killed, and not gone after a minute: {left}")


def lost(clone: Clone, expected: Outcome, status: int) -> list[str]:
    """Say what is not as after an undisturbed run; nothing where all is."""
    if status != 0:
        return [failure(clone, status)]
    found = clone.outcome()
    names = expected.files.keys() | found.files.keys()
    other = sorted(name for name in names if expected.files.get(name) != found.files.get(name))
    problems = [f"other bytes: {', '.join(other)}"] if other else []
    if said := differences(found.runs, expected.runs):
        problems.append(said)
    return problems + left_over(clone)


def failure(clone: Clone, status: int) -> str:
    """Say how the command failed, and keep all it said."""
    kept = clone.log.with_name(f"failed-{time.time_ns()}.log")
    shutil.copyfile(clone.log, kept)
    return (
        f"ended with {status}: {(clone.words.strip().splitlines() or ['without a word'])[-1]} ({kept.name})"
    )


def left_over(clone: Clone) -> list[str]:
    """Say which temporary files lie where artifacts are."""
    partial = [path.name for path in (clone.root / "artifacts").rglob("*.partial")]
    return [f"temporary files: {', '.join(partial)}"] if partial else []


def broken(clone: Clone, status: int) -> list[str]:
    """Say what is not whole after a run whose clock decided what is done; nothing where all is."""
    if status != 0:
        return [failure(clone, status)]
    found = clone.outcome()
    needed = ("artifacts/export/model.safetensors", "reports/metrics.json")
    problems = [f"no {name}" for name in needed if name not in found.files]
    for path in (clone.root / "artifacts").rglob("*.json"):
        try:
            json.loads(path.read_text())
        except ValueError:
            problems.append(f"{path.name} is not whole")
    query = (
        "select r.name, r.status, t.value from runs r left join tags t on t.run_uuid = r.run_uuid "
        "and t.key = 'mlflow.parentRunId' where r.lifecycle_stage = 'active' and r.status != 'KILLED'"
    )
    with sqlite3.connect(clone.root / "mlflow.db") as connection:
        runs = Counter(connection.execute(query))
    problems += [f"MLflow: {name} {status}" for name, status, _ in runs if status != "FINISHED"]
    problems += [f"MLflow: {name} {count} times" for (name, _, _), count in runs.items() if count > 1]
    branch = subprocess.run(
        ["git", "branch", "--show-current"], cwd=clone.root, capture_output=True, check=True
    )
    if not branch.stdout:
        problems.append("git is on no branch")
    return problems + left_over(clone)


def differences(found: Counter[tuple[str, str]], expected: Counter[tuple[str, str]]) -> str:
    """Say which of MLflow's runs there are too many or too few of; nothing where all is as expected."""
    more, fewer = found - expected, expected - found
    return f"MLflow has {dict(more)} more, {dict(fewer)} fewer" if more or fewer else ""


def undisturbed(folder: Path, settings: tuple[str, ...] = SETTINGS) -> tuple[Outcome, float]:
    """Run the pipeline in a clone of its own; return what it left and its seconds."""
    calm, took = Clone(folder / "calm", settings=settings), folder / "calm" / "scratch" / "took"
    if not took.exists():
        calm.make()
        started = time.monotonic()
        if calm.finish() != 0:
            raise SystemExit(f"the undisturbed run failed:\n{calm.words[-2000:]}")
        took.write_text(str(time.monotonic() - started))
    return calm.outcome(), float(took.read_text())


def row(out: TextIO, *cells: object) -> None:
    """Write a row of the table at once."""
    out.write("| " + " | ".join(str(cell) for cell in cells) + " |\n")
    out.flush()


def head(out: TextIO, *cells: str) -> None:
    """Write the head of a table."""
    row(out, *cells)
    row(out, *("---" for _ in cells))


def victims(found: list[psutil.Process], whom: str) -> list[psutil.Process]:
    """Choose who is killed: `all`, `stage` (the script at work and what it started), `dvc`, or `fit`."""
    named = {"all": "", "stage": "pipelines/", "dvc": "/dvc ", "fit": "/thawline "}[whom]
    return [each for each in found if named in words_of(each)] or found[:1]


def words_of(process: psutil.Process) -> str:
    """Return a process's command line; nothing where it is gone."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def kill_once(clone: Clone, after: float, whom: str) -> tuple[str, str]:
    """Run the command, kill it after some seconds; return the stage that was hit and what was left. Where the
    command ended before that, the stage is empty."""
    with clone.started() as process:
        with suppress(psutil.TimeoutExpired):
            process.wait(after)
            return "", f"ended with {process.returncode} before"
        found = everyone(process)
        for each in victims(found, whom):
            with suppress(psutil.NoSuchProcess):
                each.kill()
        alive = psutil.wait_procs(found, timeout=30)[1]
    hit = (clone.stages() or ["before the first"])[-1]
    partial = sum(1 for _ in (clone.root / "artifacts").rglob("*.partial"))
    left = [f"{partial} temporary files"] if partial else []
    left += [f"{len(alive)} still at work"] if alive else []
    return hit, ", ".join(filter(None, [*left, mended(clone)])) or "nothing"


def kill(folder: Path, times: int, seed: int, out: TextIO) -> bool:
    """Kill `dvc repro` `times` times; return whether nothing was lost."""
    expected, seconds = undisturbed(folder)
    out.write(f"undisturbed: {seconds:.0f} s, {len(expected.files)} files\n\n")
    clone = Clone(folder / "disturbed")
    whom = ("all", "stage", "dvc")
    return killed(clone, whom, times, seed, seconds / 4, lambda status: lost(clone, expected, status), out)


def fit(folder: Path, times: int, seed: int, out: TextIO) -> bool:
    """Kill `thawline fit` `times` times; return whether the end is whole."""
    pictures = folder / "pictures"
    draw(pictures)
    clone = Clone(folder / "fitted", ("thawline", "fit", str(pictures), "--minutes", "1.5", *FIT))
    whom = ("all", "stage", "dvc", "fit")
    return killed(clone, whom, times, seed, 45, lambda status: broken(clone, status), out)


def draw(folder: Path) -> None:
    """Draw pictures of two classes: noise with a bright stripe, across or down."""
    chance = np.random.default_rng(0)
    for number in range(80):
        label = ("across", "down")[number % 2]
        pixels = chance.integers(0, 90, (16, 16, 3), dtype=np.uint8)
        pixels[chance.integers(2, 12) :][:3] = 230
        (folder / label).mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(pixels if label == "across" else pixels.swapaxes(0, 1))
        picture.save(folder / label / f"{number}.png")


def killed(
    clone: Clone,
    whom: tuple[str, ...],
    times: int,
    seed: int,
    seconds: float,
    wrong: Callable[[int], list[str]],
    out: TextIO,
) -> bool:
    """Kill what runs in `clone` `times` times, each within `seconds`; return whether nothing was `wrong`."""
    head(out, "kill", "after", "whom", "stage", "left", "the next run")
    chance, good, number, on_way = random.Random(seed), True, 0, 0
    clone.make()
    while number < times:
        victim = chance.choice(whom)
        # a share of what is still to do, so that late stages are hit as well
        after = chance.uniform(1, max(seconds, 5))
        hit, left = kill_once(clone, after, victim)
        number, on_way = number + bool(hit), on_way + 1
        said = "went on"
        if on_way == ON_ONE_WAY or number == times or not hit:
            problems = wrong(clone.finish())
            good &= not problems
            said = f"came to the end over {', '.join(clone.stages()) or 'nothing'}: "
            said += "; ".join(problems) or "nothing lost"
            clone.empty()
            on_way = 0
        row(out, number if hit else "", f"{after:.1f} s", victim if hit else "nobody", hit or "", left, said)
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
    head(out, "size of the disk", "stage", "said", "traceback", "left", "the next run")
    chance, good = random.Random(seed), True
    for done in range(0, times, ON_ONE_WAY // 2):
        shares = sorted(chance.uniform(0.02, 0.98) for _ in range(min(times - done, ON_ONE_WAY // 2)))
        disk = folder / "small"
        clone = Clone(disk / "clone", place_of_log=folder / "small.log")
        with small_disk(disk, 2 * needed):
            clone.make()
            base = used_by(disk)
            for number, share in enumerate(shares, 1):
                size = int(base + share * (needed - base))
                subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True)
                status, words = clone.finish(), clone.words
                (folder / f"full-{done + number}.log").write_text(words)
                traceback = status != 0 and "Traceback" in words
                stage, said = (clone.stages() or ["none"])[-1], said_of_it(words) if status else "it sufficed"
                left, after, problems = mended(clone) or "nothing", "with a little more room", []
                if number == len(shares):
                    subprocess.run(["mount", "-o", f"remount,size={4 * needed}", str(disk)], check=True)
                    problems = lost(clone, expected, clone.finish())
                    after = f"came to the end over {', '.join(clone.stages())}: "
                    after += "; ".join(problems) or "nothing lost"
                good &= not problems and not traceback
                row(out, f"{size / 2**20:.1f} MiB", stage, said, "yes" if traceback else "no", left, after)
    return good


def said_of_it(words: str) -> str:
    """Return the last line that says what is wrong."""
    errors = [line for line in words.splitlines() if "rror" in line or "space" in line or "full" in line]
    return (errors or ["nothing"])[-1].replace("|", "\\|")[:100]


def mended(clone: Clone) -> str:
    """Do what a person would, whom `thawline fit` names a file of DVC's that is cut off; say which."""
    found = []
    while True:
        try:
            require_whole_files(clone.root)
            break
        except UserError as error:
            name = str(error).partition(" ")[0]
        if name == "dvc.lock":
            subprocess.run(["git", "checkout", "-q", "HEAD", name], cwd=clone.root, check=True)
        else:
            (clone.root / name).unlink()
        found.append(f"{name} cut off, as fit says; done as it says")
    return ", ".join(found)


class Server:
    """MLflow's server on `port`, with a database and artifacts in `folder`, which begins empty."""

    def __init__(self, folder: Path, port: int) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.folder, self.port, self.process = folder, port, None

    def start(self) -> None:
        """Start it, and return when it answers."""
        folder = self.folder
        command = [sys.executable, "-m", "mlflow", "server", "--port", str(self.port), "--workers", "1"]
        command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
        command += ["--artifacts-destination", str(folder / "artifacts")]
        with open(folder / "server.log", "a") as log:  # noqa: PTH123
            self.process = psutil.Popen(
                command, cwd=folder, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        deadline = time.monotonic() + 120
        while True:
            with suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5).close()
                return
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise SystemExit(f"MLflow's server does not answer, see {folder / 'server.log'}")
            time.sleep(0.5)

    def kill(self) -> None:
        """End it at once."""
        end(everyone(self.process))


def server(folder: Path, times: int, seed: int, out: TextIO) -> bool:
    """Kill the MLflow server at `times` moments, three of a run, each time for 10 seconds and the time that
    it takes to start; return whether nothing was lost."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    expected, seconds = undisturbed(folder)
    chance, good = random.Random(seed), True
    clone = Clone(folder / "served", settings=(*SETTINGS, f"tracking.uri=http://127.0.0.1:{port}"))
    clone.make()
    head(out, "server", "stage", "the run", "MLflow afterwards, and the files")
    for done in range(0, times, 3):
        moments = sorted(chance.uniform(10, seconds) for _ in range(min(times - done, 3)))
        mlflow = Server(folder / "server", port)
        mlflow.start()
        stops = []
        try:
            with clone.started() as process:
                started = time.monotonic()
                for moment in moments:
                    with suppress(psutil.TimeoutExpired):
                        process.wait(max(1, started + moment - time.monotonic()))
                    mlflow.kill()
                    stops.append((time.monotonic() - started, (clone.stages() or ["none"])[-1]))
                    time.sleep(10)
                    mlflow.start()
                status, said = process.wait(DEADLINE), "came to the end"
            if status:  # a server that was never reached is an error
                said = f"{failure(clone, status)}; the next one came to the end"
                status = clone.finish()
            problems = lost(clone, Outcome(expected.files, Counter()), int(status))
        finally:
            mlflow.kill()
        if found := differences(runs_in(mlflow.folder / "mlflow.db"), expected.runs):
            problems.append(found)
        good &= not problems
        for number, (at, stage) in enumerate(stops, 1):
            last = number == len(stops)
            end_of_it = (said, "; ".join(problems) or "nothing lost") if last else ("went on", "")
            row(out, f"killed after {at:.0f} s", stage, *end_of_it)
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
    parser.add_argument("how", choices=("kill", "fit", "full", "server", "same"))
    parser.add_argument("folder", type=Path, help="made anew; outside the checkout")
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    folder = given.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    disturb = {"kill": kill, "fit": fit, "full": full, "server": server, "same": same}[given.how]
    sys.exit(0 if disturb(folder, given.times, given.seed, sys.stdout) else 1)


if __name__ == "__main__":
    main()
