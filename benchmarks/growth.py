"""How time and memory of a fine-tuning grow with the number of pictures, as a table.

    python benchmarks/growth.py

Random pictures of 32 pixels in a memory map, three epochs, each training in a process of its own.
"""

import argparse
import logging
import os
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


def measured(task: Task, count: int, depth: int) -> dict[str, Any]:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)
    folder = ROOT / "scratch" / "growth" / str(count)
    task = prepared(folder, replace(task, depth=0, frozen=(), held=()), images, random.integers(0, 2, count))
    said: Measured = contestant(at(task, depth), "ours")()
    return {
        "pictures": count,
        "depth": depth,
        "seconds": said["seconds"],
        "microseconds_per_picture_and_epoch": 1e6 * said["seconds"] / count / task.epochs,
        "memory_mb": said["memory"] / 2**20,
        "pictures_mb": images.nbytes / 2**20,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = [
        "| pictures | their bytes | frozen units | seconds | µs per picture and epoch | peak memory |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['pictures']:,} | {row['pictures_mb']:.0f} MB | {row['depth']} | {row['seconds']:.1f} "
        f"| {row['microseconds_per_picture_and_epoch']:.0f} | {row['memory_mb']:.0f} MB |"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, nargs="+", default=[500, 5_000, 20_000])
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--name", default="growth")
    chosen = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    task = Task("", "resnet18", 2, 3, 32, 1e-3, 0, (), (), chosen.threads, "cpu")
    deepest = len(units(build(task.architecture, task.classes, seed=0)))
    rows = []
    for depth in (deepest, 0):
        for count in chosen.pictures:
            rows.append(measured(task, count, depth))
            log.info("%s", rows[-1])
    write_json(ROOT / "benchmarks" / "results" / f"{chosen.name}.json", rows)
    log.info("%s", table(rows))


if __name__ == "__main__":
    main()
