"""thawline: trials that differ in their rates, one after the other, over the same stored features."""

from pathlib import Path

import numpy as np
from contestants.ours import recipe_of, set_up, store_of
from contestants.task import Prepared, Task, Trained

from thawline.training.once import Training
from thawline.training.prefix.cache import PrefixCache


def rates(task: Task, trials: int) -> list[float]:
    """Around the task's, a factor of four at most."""
    return [float(task.learning_rate * factor) for factor in np.geomspace(0.25, 4, trials)]


def prepare(path: Path, trials: int = 0) -> Prepared:
    """`trials`: 32 where only the head learns, else 8. Networks are there before the clock starts."""
    task = Task.load(path)
    settings, features = set_up(task)
    store, cache = store_of(task), PrefixCache(features, settings)
    recipes = [recipe_of(task, rate) for rate in rates(task, trials or count(task))]
    networks = [task.network() for _ in recipes]

    def train() -> Trained:
        losses = []
        for network, recipe in zip(networks, recipes, strict=True):
            training = Training(network, recipe, store, settings, seed=0, mirror=False, cache=cache)
            losses.append(training.run().row["train_loss"])
        return {"losses": losses}

    return train


def count(task: Task) -> int:
    return 32 if recipe_of(task, task.learning_rate).depth == "all" else 8
