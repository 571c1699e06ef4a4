"""thawline: what a trial of its search and its fine-tuning do."""

import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from contestants.task import Prepared, Task, Trained

from thawline.config.choices import ScheduleName
from thawline.config.sections import Finetune, Trainer
from thawline.data.store import Store
from thawline.data.transform import Transform
from thawline.models.cuts import units
from thawline.models.device import prepare_machine
from thawline.models.zoo import build
from thawline.training.features.cache import PrefixCache

# a training imports it when it begins, and what is timed comes after
from thawline.training.fit import fit  # noqa: F401
from thawline.training.run import Training


def prepare(path: Path) -> Prepared:
    """Stored features are made anew in every call, and `features` says how long that took."""
    return prepare_task(Task.load(path))


def prepare_task(task: Task) -> Prepared:
    settings, features = set_up(task)
    network, store, recipe = task.network(), store_of(task), recipe_of(task, task.learning_rate)

    def train() -> Trained:
        cache = PrefixCache(features, settings)
        training = Training(network, recipe, store, settings, seed=0, mirror=False, cache=cache)
        fitted = training.run()
        return {
            "losses": [row["train_loss"] for row in fitted.history],
            "steps": sum(row["seconds"] for row in fitted.history),
            "features": training.seconds_storing,
            "memory": fitted.cost["peak_memory_bytes"],
        }

    return train


def set_up(task: Task) -> tuple[Trainer, Path]:
    """This process, and an empty folder for features."""
    settings = Trainer(accelerator="gpu" if task.device == "cuda" else "cpu", threads=task.threads)
    prepare_machine(settings)
    features = Path(task.folder) / "features"
    shutil.rmtree(features, ignore_errors=True)
    return settings, features


@cache
def deepest(architecture: str) -> int:
    return len(units(build(architecture, 2, seed=0)))


def recipe_of(task: Task, rate: float) -> Finetune:
    """The task at a learning rate."""
    return Finetune(
        depth="all" if task.depth == deepest(task.architecture) else task.depth,
        epochs=task.epochs,
        batch_size=task.batch_size,
        body_lr=rate,
        head_lr=rate,
        weight_decay=0.0,
        schedule=ScheduleName.constant,
        warmup=0.0,
    )


def store_of(task: Task) -> Store:
    """The task's pictures, all of them to train on."""
    images = np.load(Path(task.folder) / "images.npy", mmap_mode="r")
    labels = task.array("labels")
    names = tuple(str(label) for label in range(task.classes))
    manifest = pd.DataFrame(
        {
            "path": [str(place) for place in range(len(images))],
            "label": [names[label] for label in labels],
            "split": "train",
            "group": "",
            "content_hash": "",
            "width": images.shape[2],
            "height": images.shape[1],
        }
    )
    size = images.shape[1]
    transform = Transform(size, size, 3, "crop", "bilinear", (0.5,) * 3, (0.25,) * 3)
    return Store(images, manifest, names, transform, task.folder)
