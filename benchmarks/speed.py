"""How fast the same work is done by thawline and by what people would use instead: docs/benchmarks.md.

    make bench ARGS="--data PATH"

PATH is a folder with hotdog.tar and antsbees.tar (NAME/train/CLASS/FILE in each); without one, random pixels
take their place, which cost the same. First weights are random, or what `--source NAME` leaves: a training on
NAME.tar in PATH, so that it matters what is frozen. Every contestant runs in a process of its own, with the
same network, first weights, pictures, batches and epochs.
"""

import argparse
import logging
import math
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from contestants.ours import set_up, store_of
from contestants.study import Study
from contestants.task import Task
from contestants.task import frozen as frozen_to
from pictures import by_class, evenly, pictures
from side_by_side import Measured, Row, alone, compare, operations_per_second, read, row, table, write

from thawline.artifacts import atomic_path, write_json
from thawline.config.choices import AugmentationName
from thawline.config.sections import Finetune
from thawline.models.cuts import units
from thawline.models.head import replace_head
from thawline.models.zoo import build
from thawline.report.machine import describe_machine
from thawline.training.batches import batches
from thawline.training.cost import Flops, flops
from thawline.training.run import Training

ROOT = Path(__file__).resolve().parents[1]
log = logging.getLogger("speed")


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


def pretrained(task: Task, data: Path, name: str, size: int, epochs: int) -> Task:
    """`task` with first weights that a training on the source pictures in NAME.tar leaves; they are kept."""
    folder = Path(task.folder) / f"{name}-{task.architecture}-{size}px-{epochs}"
    kept = folder / "trained.pt"
    if not kept.exists():
        found = by_class(data, [name], size)
        images, labels = evenly(found, sum(map(len, found)))
        source = replace(task, classes=len(found), epochs=epochs, batch_size=64)
        source = prepared(folder, source, images, labels)
        settings, network = set_up(source)[0], source.network()
        recipe = Finetune(
            depth=0,
            epochs=epochs,
            batch_size=source.batch_size,
            body_lr=1e-3,
            head_lr=1e-3,
            augmentation=AugmentationName.standard,
        )
        training = Training(network, recipe, store_of(source), settings, seed=0, mirror=True)
        fitted = training.run([lambda row: log.info("%s: %s", name, row)])
        log.info("%s: a training loss of %.2f", name, fitted.row["train_loss"])
        with atomic_path(kept) as temporary:
            torch.save(network.state_dict(), temporary)
    network = build(task.architecture, len(np.unique(np.load(folder / "labels.npy"))), seed=0)
    network.load_state_dict(torch.load(kept, weights_only=True, map_location="cpu"))
    torch.save(replace_head(network, task.classes, seed=0)[0].state_dict(), Path(task.folder) / "start.pt")
    return replace(task, source=name)


def at(task: Task, depth: int) -> Task:
    """`task` with the first `depth` units frozen."""
    network = build(task.architecture, task.classes, seed=0)
    held = frozen_to(network, depth)
    held.train()
    frozen = [name for name, each in network.named_parameters() if not each.requires_grad]
    still = [name for name, each in network.named_modules() if name and not each.training]
    return replace(task, depth=depth, frozen=tuple(frozen), held=tuple(still))


def operations(task: Task, size: int) -> tuple[float, float]:
    """Floating-point operations of the whole training, of a picture: with the prefix computed in every epoch,
    and once."""
    prefix, suffix = sides(task, size)
    held = frozen_to(build(task.architecture, task.classes, seed=0), task.depth)
    again = flops(held, (3, size, size), task.batch_size).step
    return float(task.epochs * again), float(task.epochs * suffix.step + prefix)


def sides(task: Task, size: int) -> tuple[int, Flops]:
    """Operations for a picture of what is frozen, forward, and of what learns."""
    held, shape = frozen_to(build(task.architecture, task.classes, seed=0), task.depth), (3, size, size)
    if task.depth == 0:
        return 0, flops(held, shape, task.batch_size)
    with torch.no_grad():
        features = tuple(held.prefix(torch.zeros(2, *shape)).shape[1:])
    return flops(held.prefix, shape, task.batch_size).forward, flops(held.suffix, features, task.batch_size)


def contestant(task: Task, name: str) -> Callable[[], Measured]:
    path = task.save(Path(task.folder) / f"task-{task.depth}-{task.epochs}.json")
    environment = {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": str(task.threads)}
    return partial(alone, [str(ROOT / "benchmarks" / "contestant.py"), name, str(path)], environment)


Measurement = Callable[[Task, int, float, int], Iterator[list[Row]]]
"""From a task at depth 0, the side of its pictures, operations per second and rounds to the rows, as they
come."""


def named(task: Task, size: int, what: str) -> str:
    count = len(task.array("images"))
    source = f", weights of {task.source}" if task.source else ""
    return f"{task.architecture}{source}, {count} pictures of {size} px, {task.epochs} epochs, {what}"


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
    deepest = len(units(build(task.architecture, task.classes, seed=0)))
    for depth in (deepest, deepest - 1, deepest // 2):
        task = at(task, depth)
        ours, bare = contestant(task, "ours_stored"), contestant(task, "bare_stored")
        yield compare(
            named(task, size, f"the steps alone with {depth} units stored"),
            lambda run=ours: {**(said := run()), "seconds": said["steps"]},
            {"bare loop on stored features": bare},
            # the shorter the work, the more what else the machine does counts
            rounds=rounds if depth < deepest else 5 * rounds,
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
    probe = at(task, len(units(build(task.architecture, task.classes, seed=0))))
    limit = len(task.array("images")) * operations(probe, size)[1] / rate
    yield compare(
        named(probe, size, "linear probe"),
        contestant(probe, "ours"),
        {"Lightning BackboneFinetuning": contestant(probe, "lightning_finetuning")},
        rounds=rounds,
        limit=limit,
    )[0]


def studies(task: Task, size: int, rate: float, rounds: int) -> Iterator[list[Row]]:
    """A grid of depths and learning rates, every training to its end: by Optuna's tutorial with Lightning,
    one after the other with all threads, and by ours with as many workers as threads. The same grid against
    what ours would do to find a good recipe: `search=quick`, which starts with known ones, prunes and ends
    after fifteen trials. Every round is the same work."""
    if task.device != "cpu":
        raise SystemExit(
            "studies are compared on a CPU alone: leave out --device, or name other measurements"
        )
    task = replace(task, epochs=max(1, task.epochs // 4))
    deepest = len(units(build(task.architecture, task.classes, seed=0)))
    depths = [0, deepest // 2, deepest - 1, deepest]
    quick = ("search=quick", f"search.workers={task.threads}", "trainer.threads=1")
    # three values of each of the rates that there are: 9 recipes, and 3 where the head alone learns
    grid = ("search.sampler=grid", "search.grid_points=3", f"search.space.depths={depths}")
    whole = (*quick, *grid, "search.trials=30", "search.pruner=none", "search.known=[]")
    rows = []
    for turn in range(rounds):
        folder = Path(task.folder) / f"study-{turn}"
        shutil.rmtree(folder, ignore_errors=True)
        study = Study(str(folder / "grid"), asdict(task), whole)
        ours = ran(study, "study_ours")
        peer = ran(replace(study, given=tuple(_given(task, ours))), "study_tutorial")
        known = ran(Study(str(folder / "quick"), asdict(task), quick), "study_ours")
        rows.append((ours, peer, known))
        for name, said in (("the grid", ours), ("the grid by the tutorial", peer), ("quick", known)):
            best, close = max(_finished(said), key=lambda trial: trial["value"]), _close(said, peer)
            log.info("round %d, %s: %.0f s, best %s", turn, name, said["seconds"], best)
            log.info("  one within a point of the tutorial's best after %.0f s", close)
    mine, theirs, known = zip(*rows, strict=True)
    plain, limit = "Optuna and Lightning", _limit(task, size, rate, mine[0])
    recipes = f"a grid of {len(mine[0]['trials'])} recipes"
    yield [
        row(named(task, size, recipes), plain, mine, theirs, limit, "seconds"),
        row(named(task, size, f"search=quick against {recipes}"), plain, known, theirs, None, "seconds"),
    ]


def _finished(said: Measured) -> list[dict[str, Any]]:
    """The trials that a study could choose from."""
    return [trial for trial in said["trials"] if trial.get("state", "complete") == "complete"]


def _given(task: Task, said: Measured) -> list[dict[str, float]]:
    """What a study tried, for somebody else to try."""
    return [
        {name: trial[name] or task.learning_rate for name in ("head_lr", "body_lr")}
        | {"depth": trial["depth"]}
        for trial in said["trials"]
    ]


def _limit(task: Task, size: int, rate: float, said: Measured) -> float:
    """Seconds that a study's operations take at the machine's highest rate: what is frozen in any of its
    trials once, the rest in every epoch, forward alone for the fifth of the pictures that validates."""
    depths = [trial["depth"] for trial in said["trials"]]
    of = {depth: sides(replace(task, depth=depth), size) for depth in set(depths)}
    steps = sum(task.epochs * (0.8 * of[depth][1].step + 0.2 * of[depth][1].forward) for depth in depths)
    return len(task.array("images")) * (of[max(depths)][0] + steps) / rate


def ran(study: Study, name: str) -> Measured:
    if not study.given:
        study.begin()
    # trials share the cores; the tutorial has them for itself
    threads = study.task["threads"] if study.given else 1
    environment = {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": str(threads)}
    return alone([str(ROOT / "benchmarks" / "contestant.py"), name, str(study.save())], environment)


def _close(said: Measured, peer: Measured) -> float:
    """Seconds until a finished trial was within a point of the best of the peer's; for ever if none was."""
    # the tutorial's accuracies are of 32 bits
    aim = max(trial["value"] for trial in peer["trials"]) - 0.01 - 1e-6
    finished = [trial["finished"] for trial in _finished(said) if trial["value"] >= aim]
    return said.get("before", 0.0) + min(finished, default=math.inf)


MEASUREMENTS: dict[str, Measurement] = {
    "depths": depths,
    "steps": steps,
    "peers": peers,
    "studies": studies,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
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
    if chosen.source:
        task = pretrained(task, chosen.data, chosen.source, chosen.size, chosen.source_epochs)
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
