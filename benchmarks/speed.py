"""How fast the same work is done by thawline and by what people would use instead: docs/benchmarks.md.

    make bench ARGS="--data PATH"

PATH is a folder with hotdog.tar and antsbees.tar (NAME/train/CLASS/FILE in each); without one, random pixels
take their place, which cost the same. First weights are random, or what `--source NAME` leaves: a training on
NAME.tar in PATH, so that it matters what is frozen. Every contestant runs in a process of its own, with the
same network, first weights, pictures, batches and epochs.
"""

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from command import arguments
from contestants.task import Task
from kept import rows_in
from pages import RESULTS, ROOT
from pictures import pictures
from side_by_side import Row, compare, operations_per_second, table, write
from studies import studies
from tasks import at, contestant, deepest, named, operations, prepared, pretrained

from thawline.artifacts import write_json
from thawline.report.machine import describe_machine

log = logging.getLogger("speed")


def depths(task: Task, size: int, rate: float, rounds: int) -> Iterator[list[Row]]:
    """Every depth against a bare loop that computes the whole network in every epoch."""
    last = deepest(task.architecture)
    for depth in reversed(range(last + 1)):
        task = at(task, depth)
        again, once = (len(task.array("images")) * each for each in operations(task, size))
        what = f"{depth} units frozen"
        found, said = compare(
            named(task, size, what),
            contestant(task, "ours"),
            {"bare loop": contestant(task, "bare")},
            # the shorter the work, the more what else the machine does counts
            rounds=rounds if depth < last else 3 * rounds,
            limit=once / rate,
        )
        # the last losses: a head that learns alone is solved, and has no others
        differ = said["ours"][0]["losses"][-1] - said["bare loop"][0]["losses"][-1]
        log.info(
            "depth %d: %.1f times as fast, %.1f times fewer operations, last losses differ by %.1e",
            depth,
            found[0].ratio,
            again / once,
            abs(differ),
        )
        yield found


def steps(task: Task, size: int, _: float, rounds: int) -> Iterator[list[Row]]:
    """What Lightning and all that is ours add to a bare loop over the same stored features."""
    last = deepest(task.architecture)
    for depth in (last, last - 1, last // 2):
        task = at(task, depth)
        ours, bare = contestant(task, "ours_stored"), contestant(task, "bare_stored")
        yield compare(
            named(task, size, f"the steps alone with {depth} units stored"),
            lambda run=ours: {**(said := run()), "seconds": said["steps"]},
            {"bare loop on stored features": bare},
            # the shorter the work, the more what else the machine does counts
            rounds=rounds if depth < last else 5 * rounds,
        )[0]


def peers(task: Task, size: int, rate: float, rounds: int) -> Iterator[list[Row]]:
    """One full fine-tuning, and one linear probe as Lightning's own callback freezes it."""
    whole = at(replace(task, epochs=max(1, task.epochs // 4)), 0)
    limit = len(task.array("images")) * operations(whole, size)[1] / rate
    yield compare(
        named(whole, size, "full fine-tuning"),
        contestant(whole, "ours"),
        {
            "bare loop": contestant(whole, "bare"),
            "fastai": contestant(whole, "fastai_learner"),
            "timm": contestant(whole, "timm_loop"),
            "Lightning": contestant(whole, "lightning_finetuning"),
        },
        rounds=rounds,
        limit=limit,
    )[0]
    probe = at(task, deepest(task.architecture))
    limit = len(task.array("images")) * operations(probe, size)[1] / rate
    yield compare(
        named(probe, size, "linear probe"),
        contestant(probe, "ours"),
        {"Lightning BackboneFinetuning": contestant(probe, "lightning_finetuning")},
        rounds=rounds,
        limit=limit,
    )[0]


Measurement = Callable[[Task, int, float, int], Iterator[list[Row]]]
"""From a task at depth 0, the side of its pictures, operations per second and rounds to the rows, as they
come."""

MEASUREMENTS: dict[str, Measurement] = {"depths": depths, "steps": steps, "peers": peers, "studies": studies}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--data", type=Path, help="folder with hotdog.tar and antsbees.tar")
    parser.add_argument("--source", help="of the first weights: NAME of a NAME.tar in that folder")
    parser.add_argument("--source-epochs", type=int, default=8)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--architecture", default="resnet18")
    parser.add_argument("--pictures", type=int, default=500)
    parser.add_argument("--size", type=int, default=64, help="pixels")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--name", help="of the file in benchmarks/results", default=None)
    parser.add_argument("measurements", nargs="*", default=list(MEASUREMENTS), help=", ".join(MEASUREMENTS))
    chosen = parser.parse_args()
    if chosen.source and not chosen.data:
        parser.error("--source NAME needs --data PATH, the folder with NAME.tar")
    images, labels, classes = pictures(chosen.data, chosen.pictures, chosen.size)
    task = Task("", chosen.architecture, classes, chosen.epochs, chosen.batch)
    task = replace(task, threads=chosen.threads, device=chosen.device)
    task = prepared(ROOT / "scratch" / "speed", task, images, labels)
    if chosen.source:
        task = pretrained(task, chosen.data, chosen.source, chosen.size, chosen.source_epochs)
    rate = operations_per_second(chosen.device, chosen.threads)
    log.info("%.1f GFLOP/s at most", rate / 1e9)
    name = chosen.name or ("gpu" if chosen.device == "cuda" else f"cpu_{chosen.threads}")
    path = RESULTS / f"{name}.json"
    write_json(path.with_suffix(".machine.json"), {**describe_machine(), "operations_per_second": rate})
    for each in chosen.measurements:
        for rows in MEASUREMENTS[each](task, chosen.size, rate, chosen.rounds):
            write(path, rows)
    log.info("%s", table(rows_in(path)))


if __name__ == "__main__":
    main()
