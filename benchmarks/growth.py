"""How time and memory of fine-tuning grow with pictures, frozen units and trials, as a table.

    python benchmarks/growth.py

Random pictures of 32 pixels in a memory map, three epochs, each training in a process of its own; trials are
linear probes, trained at once.
"""

import argparse
import logging
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from contestants.task import Task
from side_by_side import Measured
from speed import ROOT, at, contestant, prepared

from thawline.artifacts import write_json
from thawline.models.cuts import units
from thawline.models.zoo import build

SIZE = 32
log = logging.getLogger("growth")


def task_of(count: int, threads: int) -> Task:
    """Training everything on `count` pictures."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)
    task = Task("", "resnet18", 2, 3, 32, 1e-3, 0, (), (), threads, "cpu")
    folder = ROOT / "scratch" / "growth" / str(count)
    return prepared(folder, task, images, random.integers(0, 2, count))


def measured(task: Task, depth: int, trials: int = 1) -> dict[str, Any]:
    name = "ours" if trials == 1 else "trials_at_once"
    said: Measured = contestant(replace(at(task, depth), trials=trials), name)()
    count = len(task.array("labels"))
    return {
        "pictures": count,
        "pictures_mb": count * SIZE * SIZE * 3 / 2**20,
        "depth": depth,
        "trials": trials,
        "seconds": said["seconds"],
        "microseconds_per_picture_and_epoch": 1e6 * said["seconds"] / count / task.epochs,
        "memory_mb": said["memory"] / 2**20,
    }


def rows(counts: list[int], trials: list[int], threads: int) -> Iterator[dict[str, Any]]:
    """Pictures at either end of the depths, depths with the fewest pictures, then trials with these."""
    tasks = [task_of(count, threads) for count in counts]
    deepest = len(units(build(tasks[0].architecture, 2, seed=0)))
    for depth in (deepest, 0):
        for task in tasks:
            yield measured(task, depth)
    for depth in range(deepest - 1, 0, -1):
        yield measured(tasks[0], depth)
    for number in trials:
        yield measured(tasks[0], deepest, number)


def table(found: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = [
        "| pictures | their size | frozen units | trials | seconds | µs a picture and epoch | peak memory |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['pictures']:,} | {row['pictures_mb']:.0f} MB | {row['depth']} | {row['trials']} "
        f"| {row['seconds']:.1f} | {row['microseconds_per_picture_and_epoch']:.0f} "
        f"| {row['memory_mb']:.0f} MB |"
        for row in found
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, nargs="+", default=[500, 5_000, 20_000])
    parser.add_argument("--trials", type=int, nargs="+", default=[8, 32, 128])
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--name", default="growth")
    chosen = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    found = []
    for row in rows(chosen.pictures, chosen.trials, chosen.threads):
        found.append(row)
        log.info("%s", row)
    write_json(ROOT / "benchmarks" / "results" / f"{chosen.name}.json", found)
    log.info("%s", table(found))


if __name__ == "__main__":
    main()
