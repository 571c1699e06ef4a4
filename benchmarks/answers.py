"""`thawline fit` on real photographs beside what people would do instead: the table of docs/benchmarks.md.

    pip install -c constraints.txt -e '.[bench]'
    python benchmarks/answers.py --data ../shared/data --minutes 5 10 -- rsscn7 hotdog256 antsbees256

NAME.tar in the folder holds {train,test}/CLASS/FILE. Everybody starts from the same weights, one after the
other, in a process of its own, with what that takes to start; every fit has a clone of its own. What was
measured stays below scratch/answers, is not measured again and is in the table. Nothing else may run beside.
"""

import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from command import arguments
from kept import kept
from pages import ROOT, fill, interval, table

from thawline.artifacts import read_json
from thawline.statistics.intervals import accuracy_interval
from thawline.statistics.paired import difference_interval

KEPT = ROOT / "scratch" / "answers"
# the names of rivals.py, which is not imported: what it loads would count as memory of every child
RIVALS = ("logistic regression", "fastai fine_tune(3)", "fastai fine_tune(10)", "timm, 10 epochs")
NAMES = (
    *("data", "who", "minutes", "first model", "memory", "accuracy (95 %)"),
    *("the longest fit is better by (95 %)", "depth"),
)
FIT = "fit --minutes "
log = logging.getLogger("answers")


@dataclass(frozen=True)
class Answer:
    """What somebody came to on one set: `correct` (models, pictures), 1 or 0, in the order of the pictures'
    paths. `memory` is the peak of the largest process, in bytes; `first` the seconds until there was a model
    to use; `depth` how many units ended up frozen."""

    data: str
    who: str
    seed: int
    seconds: float
    memory: int
    correct: list[list[int]]
    first: float | None = None
    depth: int | None = None


def pictures_of(name: str, data: Path) -> Path:
    """Return the folder with the pictures of NAME.tar, which is unpacked once."""
    folder = KEPT / "data" / name
    if not folder.exists():
        with tarfile.open(data / f"{name}.tar") as archive:
            # Python 3.11.0 to 3.11.3 knows no filters
            archive.extraction_filter = getattr(tarfile, "data_filter", None)
            archive.extractall(folder.parent)
    return folder


def run(command: Sequence[str], folder: Path, source: Path) -> tuple[str, float, int]:
    """Return what `command` says in `folder` with the code in `source`, its seconds, and its peak memory in
    bytes. Raises SystemExit with its last words where it fails."""
    started = time.monotonic()
    paths = f"{source}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    environment = {**os.environ, "PYTHONPATH": paths}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        said = process.stdout.read()
        # what the process used, and all that it started and waited for
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"error: {' '.join(command)} ended with {process.returncode}\n{said[-3000:]}")
    return said, time.monotonic() - started, used.ru_maxrss * 1024


def rival(data: str, who: str, seed: int, folder: Path) -> Answer:
    """Run one of rivals.py."""
    command = [sys.executable, str(ROOT / "benchmarks" / "rivals.py"), who, str(folder), str(seed)]
    said, seconds, memory = run(command, ROOT, ROOT / "src")
    found = json.loads(said.splitlines()[-1])
    right = [correct for _, correct in sorted(zip(found["paths"], found["correct"], strict=True))]
    return Answer(data, who, seed, seconds, memory, [[int(each) for each in right]])


def fitted(data: str, minutes: float, seed: int, folder: Path) -> Answer:
    """Run `thawline fit` in a fresh clone."""
    clone = KEPT / "clone"
    shutil.rmtree(clone, ignore_errors=True)
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    command = ["thawline", "fit", str(folder), "--minutes", f"{minutes:g}", "-S", f"seed={seed}"]
    said, seconds, memory = run(command, clone, clone / "src")
    (KEPT / f"{data}-{minutes:g}-{seed}.log").write_text(said)
    first = re.search(r"a first model is ready: .*\((\d+) s\)", said)
    table = pd.read_csv(clone / "artifacts" / "evaluate" / "predictions.csv")
    table = table[table["contender"] == "finetuned"]
    table["path"] = table["path"].str.split("/").str[-2:].str.join("/")
    right = [part.sort_values("path")["correct"].tolist() for _, part in table.groupby("seed")]
    depth = read_json(clone / "reports" / "metrics.json")["recipe"]["depth"]
    first = first and float(first[1])
    return Answer(data, f"{FIT}{minutes:g}", seed, seconds, memory, right, first, depth)


def answers(
    data: str, minutes: Sequence[float], seeds: int, folder: Path, rivals: Sequence[str] = RIVALS
) -> Iterator[Answer]:
    """Yield what everybody comes to on one set; what was measured before is read."""

    asked = [(who, 0) for who in rivals]
    asked += [(f"{FIT}{each:g}", seed) for each in minutes for seed in range(seeds)]
    for who, seed in asked:
        path = KEPT / f"{data}-{re.sub(r'[^a-z0-9]+', '_', who)}-{seed}.json"
        yield Answer(**kept(path, answered, data, who, seed, folder))


def answered(data: str, who: str, seed: int, folder: Path) -> dict[str, Any]:
    """Return what one of rivals.py, or `thawline fit`, comes to."""
    if who.startswith(FIT):
        return asdict(fitted(data, float(who.removeprefix(FIT)), seed, folder))
    return asdict(rival(data, who, seed, folder))


def rows() -> Iterator[list[str]]:
    """Yield the lines of the table: of all that was measured, now and before."""
    found: dict[str, list[Answer]] = {}
    for path in sorted(KEPT.glob("*.json")):
        answer = Answer(**read_json(path))
        found.setdefault(answer.data, []).append(answer)
    for of_set in found.values():
        yield from cells(sorted(of_set, key=_place))


def _place(answer: Answer) -> tuple[int, float, int]:
    """Order rivals as they are named, then fits by their minutes, then seeds."""
    if answer.who in RIVALS:
        return RIVALS.index(answer.who), 0.0, answer.seed
    return len(RIVALS), float(answer.who.removeprefix(FIT)), answer.seed


def cells(of_set: Sequence[Answer]) -> Iterator[list[str]]:
    """Yield the lines of one set: each once, with all of its seeds, compared with the longest fit."""
    groups: dict[str, list[Answer]] = {}
    for answer in of_set:
        groups.setdefault(answer.who, []).append(answer)
    ours = [who for who in groups if who.startswith(FIT)]
    best = _correct(groups[ours[-1]]) if ours else None
    for who, found in groups.items():
        correct, first = _correct(found), [each.first for each in found if each.first is not None]
        against = ""
        if best is not None and who not in ours:
            ends = difference_interval(best, correct, np.arange(correct.shape[1]), 0.95)
            against = interval(best.mean() - correct.mean(), *ends, "+.3f")
        minutes = " / ".join(f"{each.seconds / 60:.1f}" for each in found)
        depths = ", ".join(str(each.depth) for each in found if each.depth is not None)
        yield [
            *(found[0].data, who, minutes, " / ".join(f"{each:.0f} s" for each in first)),
            f"{max(each.memory for each in found) / 1e9:.1f} GB",
            *(interval(correct.mean(), *accuracy_interval(correct)), against, depths),
        ]


def _correct(found: Sequence[Answer]) -> np.ndarray:
    """Return (models of all seeds, pictures)."""
    return np.concatenate([np.array(each.correct, float) for each in found])


def main() -> None:
    parser = arguments(__doc__, data=True)
    parser.add_argument("--minutes", type=float, nargs="+", default=[5, 10])
    parser.add_argument("--seeds", type=int, default=1, help="of the whole fit")
    parser.add_argument("--rivals", nargs="*", default=RIVALS, choices=RIVALS)
    parser.add_argument("sets", nargs="+")
    chosen = parser.parse_args()
    for name in chosen.sets:
        folder = pictures_of(name, chosen.data)
        for each in answers(name, chosen.minutes, chosen.seeds, folder, chosen.rivals):
            log.info("%s, %s: %.0f s, %.3f", name, each.who, each.seconds, _correct([each]).mean())
    text = table(NAMES, rows())
    fill("benchmarks.md", {"answers": text})
    log.info("%s", text)


if __name__ == "__main__":
    main()
