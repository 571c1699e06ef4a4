"""The work that contestants do: its files, its first weights, its operations, and who does it."""

import logging
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from contestants.ours import set_up, store_of
from contestants.task import Task, frozen
from pages import ROOT
from pictures import by_class, evenly
from side_by_side import Run, alone

from thawline.artifacts import atomic_path
from thawline.config.choices import AugmentationName
from thawline.config.sections import Finetune
from thawline.models.cuts import units
from thawline.models.head import replace_head
from thawline.models.zoo import build
from thawline.training.batches import batches
from thawline.training.cost import Flops, flops
from thawline.training.run import Training

log = logging.getLogger("tasks")


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
        standard = AugmentationName.standard
        recipe = Finetune(
            depth=0, epochs=epochs, batch_size=64, body_lr=1e-3, head_lr=1e-3, augmentation=standard
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
    held = frozen(network, depth)
    held.train()
    still = [name for name, each in network.named_parameters() if not each.requires_grad]
    quiet = [name for name, each in network.named_modules() if name and not each.training]
    return replace(task, depth=depth, frozen=tuple(still), held=tuple(quiet))


def operations(task: Task, size: int) -> tuple[float, float]:
    """Floating-point operations of the whole training, of a picture: with the prefix computed in every epoch,
    and once."""
    prefix, suffix = sides(task, size)
    held = frozen(build(task.architecture, task.classes, seed=0), task.depth)
    again = flops(held, (3, size, size), task.batch_size).step
    return float(task.epochs * again), float(task.epochs * suffix.step + prefix)


def sides(task: Task, size: int) -> tuple[int, Flops]:
    """Operations for a picture of what is frozen, forward, and of what learns."""
    held, shape = frozen(build(task.architecture, task.classes, seed=0), task.depth), (3, size, size)
    if task.depth == 0:
        return 0, flops(held, shape, task.batch_size)
    with torch.no_grad():
        features = tuple(held.prefix(torch.zeros(2, *shape)).shape[1:])
    return flops(held.prefix, shape, task.batch_size).forward, flops(held.suffix, features, task.batch_size)


def contestant(task: Task, name: str) -> Run:
    path = task.save(Path(task.folder) / f"task-{task.depth}-{task.epochs}.json")
    return process(name, path, task.threads)


def process(name: str, path: Path, threads: int, checkout: Path = ROOT) -> Run:
    """Return what runs a contestant of a checkout on the task in `path`."""
    environment = {"PYTHONPATH": str(checkout / "src"), "OMP_NUM_THREADS": str(threads)}
    return partial(alone, [str(checkout / "benchmarks" / "contestant.py"), name, str(path)], environment)


@cache
def deepest(architecture: str) -> int:
    """Return how many units a network has."""
    return len(units(build(architecture, 2, seed=0)))


def named(task: Task, size: int, what: str) -> str:
    count = len(task.array("images"))
    source = f", weights of {task.source}" if task.source else ""
    return f"{task.architecture}{source}, {count} pictures of {size} px, {task.epochs} epochs, {what}"
