"""How fast the same work is done by thawline and by what people would use instead: docs/benchmarks.md.

    make bench ARGS="--data PATH"

PATH is a folder with hotdog.tar and antsbees.tar (NAME/train/CLASS/FILE in each); without one, random pixels
take their place, which cost the same. Every contestant runs in a process of its own, with the same network,
first weights, pictures, batches and epochs.
"""

import argparse
import io
import logging
import math
import os
import re
import shutil
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from contestants.ours import store_of
from contestants.study import Study
from contestants.task import Task
from PIL import Image
from side_by_side import Measured, Row, alone, compare, operations_per_second, read, row, table, write

from thawline.artifacts import write_json
from thawline.models.cuts import units
from thawline.models.freezing import freeze
from thawline.models.zoo import build
from thawline.report.machine import describe_machine
from thawline.training.cost import flops
from thawline.training.fit import batches

ROOT = Path(__file__).resolve().parents[1]
log = logging.getLogger("speed")


def pictures(data: Path | None, count: int, size: int) -> tuple[np.ndarray, np.ndarray, int]:
    """`count` pictures `(n, size, size, 3)` uint8, their labels and the number of classes: as many of every
    class in the tars of `data`, or random ones of two."""
    random = np.random.default_rng(0)
    if data is None:
        images = random.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
        return images, random.permutation(np.arange(count) % 2), 2
    found: dict[str, list[np.ndarray]] = {}
    for name in ("antsbees", "hotdog"):
        with tarfile.open(data / f"{name}.tar") as tar:
            for member in sorted((each for each in tar if each.isfile()), key=lambda each: each.name):
                part = re.search(r"train/([^/]+)/[^/]+\.(?:jpe?g|png)$", member.name, re.IGNORECASE)
                handle = part and tar.extractfile(member)
                if part and handle:
                    picture = Image.open(io.BytesIO(handle.read())).convert("RGB").resize((size, size))
                    found.setdefault(f"{name}/{part[1]}", []).append(np.asarray(picture))
    return _evenly(list(found.values()), count)


def _evenly(found: list[list[np.ndarray]], count: int) -> tuple[np.ndarray, np.ndarray, int]:
    """`count` of the pictures `found` of every class, taken from each in turn."""
    turns = [
        (label, place) for place in range(count) for label in range(len(found)) if place < len(found[label])
    ]
    chosen = np.random.default_rng(0).permutation(turns[:count])
    images = np.stack([found[label][place] for label, place in chosen])
    return images, chosen[:, 0].copy(), len(found)


def prepared(folder: Path, task: Task, images: np.ndarray, labels: np.ndarray) -> Task:
    """`task` with its files in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "images.npy", images)
    np.save(folder / "labels.npy", labels)
    network = build(task.architecture, task.classes, seed=0)
    torch.save(network.state_dict(), folder / "start.pt")
    task = replace(task, folder=str(folder))
    given = batches(store_of(task), task.batch_size, seed=0)
    orders = []
    for epoch in range(task.epochs):
        given.set_epoch(epoch)
        orders.append(np.concatenate([indices.numpy() for _, _, indices in given]))
    np.save(folder / "order.npy", np.stack(orders))
    return task


def at(task: Task, depth: int) -> Task:
    """`task` with the first `depth` units frozen."""
    network = build(task.architecture, task.classes, seed=0)
    held = freeze(network, depth)
    held.train()
    frozen = [name for name, each in network.named_parameters() if not each.requires_grad]
    still = [name for name, each in network.named_modules() if name and not each.training]
    return replace(task, depth=depth, frozen=tuple(frozen), held=tuple(still))


def operations(task: Task, size: int) -> tuple[float, float]:
    """Floating-point operations of the whole training: with the prefix computed in every epoch, and once."""
    network = build(task.architecture, task.classes, seed=0)
    held = freeze(network, task.depth)
    shape = (3, size, size)
    again = flops(held, shape, task.batch_size)
    if task.depth == 0:
        return float(task.epochs * again.step), float(task.epochs * again.step)
    with torch.no_grad():
        features = tuple(held.prefix(torch.zeros(2, *shape)).shape[1:])
    prefix = flops(held.prefix, shape, task.batch_size).forward
    suffix = flops(held.suffix, features, task.batch_size).step
    return float(task.epochs * again.step), float(task.epochs * suffix + prefix)


def contestant(task: Task, name: str) -> Callable[[], Measured]:
    path = task.save(Path(task.folder) / f"task-{task.depth}-{task.epochs}.json")
    environment = {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": str(task.threads)}
    return partial(alone, [str(ROOT / "benchmarks" / "contestant.py"), name, str(path)], environment)


Measurement = Callable[[Task, int, float, int], Iterator[list[Row]]]
"""From a task at depth 0, the side of its pictures, operations per second and rounds to the rows, as they
come."""


def named(task: Task, size: int, what: str) -> str:
    count = len(task.array("images"))
    return f"{task.architecture}, {count} pictures of {size} px, {task.epochs} epochs, {what}"


def depths(task: Task, size: int, rate: float, rounds: int) -> Iterator[list[Row]]:
    """Every depth against a bare loop that computes the whole network in every epoch."""
    deepest = len(units(build(task.architecture, task.classes, seed=0)))
    for depth in reversed(range(deepest + 1)):
        task = at(task, depth)
        again, once = (len(task.array("images")) * each for each in operations(task, size))
        what = f"{depth} units frozen"
        found, said = compare(
            named(task, size, what),
            contestant(task, "ours"),
            {"bare loop": contestant(task, "bare")},
            # the shorter the work, the more what else the machine does counts
            rounds=rounds if depth < deepest else 3 * rounds,
            limit=once / rate,
        )
        differ = np.subtract(said["ours"][0]["losses"], said["bare loop"][0]["losses"])
        log.info(
            "depth %d: %.1f times as fast, %.1f times fewer operations, losses differ by at most %.1e",
            depth,
            found[0].ratio,
            again / once,
            np.abs(differ).max(),
        )
        yield found


def steps(task: Task, size: int, _: float, rounds: int) -> Iterator[list[Row]]:
    """What Lightning and all that is ours add to a bare loop over the same stored features."""
    deepest = len(units(build(task.architecture, task.classes, seed=0)))
    for depth in (deepest, deepest - 1, deepest // 2):
        task = at(task, depth)
        ours, bare = contestant(task, "ours_stored"), contestant(task, "bare_stored")
        yield compare(
            named(task, size, f"the steps alone with {depth} units stored"),
            lambda run=ours: {**(said := run()), "seconds": said["steps"]},
            {"bare loop on stored features": bare},
            rounds=rounds,
        )[0]


def trials(task: Task, size: int, _: float, rounds: int) -> Iterator[list[Row]]:
    """Trials as one batch of models against the same one after the other: 32 heads; on a GPU, where it may
    pay, half-frozen networks as well."""
    deepest = len(units(build(task.architecture, task.classes, seed=0)))
    wanted = {deepest: "32 linear probes"}
    if task.device == "cuda":
        wanted[deepest // 2] = f"8 trainings with {deepest // 2} units frozen"
    for depth, what in wanted.items():
        task = replace(at(task, depth), trials=int(what.split()[0]))
        found, said = compare(
            named(task, size, what),
            contestant(task, "trials_at_once"),
            {"one after the other": contestant(task, "trials_in_turn")},
            rounds=rounds,
        )
        differ = np.subtract(said["ours"][0]["losses"], said["one after the other"][0]["losses"])
        log.info("%s: losses differ by at most %.1e", what, np.abs(differ).max())
        yield found


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
    probe = at(task, len(units(build(task.architecture, task.classes, seed=0))))
    limit = len(task.array("images")) * operations(probe, size)[1] / rate
    yield compare(
        named(probe, size, "linear probe"),
        contestant(probe, "ours"),
        {"Lightning BackboneFinetuning": contestant(probe, "lightning_finetuning")},
        rounds=rounds,
        limit=limit,
    )[0]


def studies(task: Task, size: int, _: float, rounds: int) -> Iterator[list[Row]]:
    """A study of 30 trials: the same ones by Optuna's tutorial with Lightning; and how soon each is close to
    the best of them, ours with what it would do: known recipes first, pruning, workers."""
    task, rows = replace(task, epochs=max(1, task.epochs // 4)), []
    quick = ("search=quick", "search.trials=30", f"search.workers={task.threads}")
    same = (*quick, "search.sampler=random", "search.pruner=none", "search.known=[]")
    for turn in range(rounds):
        folder = Path(task.folder) / f"study-{turn}"
        shutil.rmtree(folder, ignore_errors=True)
        study = Study(str(folder / "same"), asdict(task), (*same, f"seed={turn}"))
        ours = ran(study, "study_ours")
        given = [
            {
                "depth": trial["depth"],
                "head_lr": trial["head_lr"],
                "body_lr": trial["body_lr"] or task.learning_rate,
            }
            for trial in ours["trials"]
        ]
        peer = ran(replace(study, given=tuple(given)), "study_tutorial")
        known = ran(Study(str(folder / "quick"), asdict(task), quick), "study_ours")
        rows.append((ours, peer, known))
        for name, said in (("ours", ours), ("tutorial", peer), ("quick", known)):
            best = max(said["trials"], key=lambda trial: trial["value"] or 0)
            log.info("study %d, %s: %.0f s, best %s", turn, name, said["seconds"], best)
    whole = named(task, size, "a study of 30 trials")
    close = [(_close(known, peer), _close(peer, peer)) for _, peer, known in rows]
    plain = "Optuna and Lightning"
    yield [row(whole, plain, [each[0] for each in rows], [each[1] for each in rows], None, "seconds")]
    if any(math.isinf(mine) for mine, _ in close):
        log.info("ours did not come within a point of the best in every round: %s", close)
        return
    mine, theirs = ([{"seconds": each[side]} for each in close] for side in (0, 1))
    yield [row(whole + ", until within a point of the best of all", plain, mine, theirs, None, "seconds")]


def ran(study: Study, name: str) -> Measured:
    if not study.given:
        study.begin()
    # trials share the cores; the tutorial has them for itself
    threads = study.task["threads"] if study.given else 1
    environment = {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": str(threads)}
    return alone([str(ROOT / "benchmarks" / "contestant.py"), name, str(study.save())], environment)


def _close(said: Measured, peer: Measured) -> float:
    """Seconds until a trial was within a point of the best of the peer's; for ever if none was."""
    # the tutorial's accuracies are of 32 bits
    aim = max(trial["value"] for trial in peer["trials"]) - 0.01 - 1e-6
    # our clock starts with the first trial; what comes before it counts (and what comes after the last one)
    before = said["seconds"] - max(trial["finished"] or 0 for trial in said["trials"])
    finished = [t["finished"] for t in said["trials"] if t["value"] is not None and t["value"] >= aim]
    return before + min(finished, default=math.inf)


MEASUREMENTS: dict[str, Measurement] = {
    "depths": depths,
    "steps": steps,
    "trials": trials,
    "peers": peers,
    "studies": studies,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder with hotdog.tar and antsbees.tar")
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
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    images, labels, classes = pictures(chosen.data, chosen.pictures, chosen.size)
    task = Task(
        folder="",
        architecture=chosen.architecture,
        classes=classes,
        epochs=chosen.epochs,
        batch_size=chosen.batch,
        learning_rate=1e-3,
        depth=0,
        frozen=(),
        held=(),
        threads=chosen.threads,
        device=chosen.device,
    )
    task = prepared(ROOT / "scratch" / "speed", task, images, labels)
    rate = operations_per_second(chosen.device, chosen.threads)
    log.info("%.1f GFLOP/s at most", rate / 1e9)
    name = chosen.name or ("gpu" if chosen.device == "cuda" else f"cpu_{chosen.threads}")
    results = ROOT / "benchmarks" / "results"
    path = results / f"{name}.json"
    write_json(results / f"{name}.machine.json", {**describe_machine(), "operations_per_second": rate})
    for each in chosen.measurements:
        for rows in MEASUREMENTS[each](task, chosen.size, rate, chosen.rounds):
            write(path, rows)
    log.info("%s", table(read(path)))


if __name__ == "__main__":
    main()
