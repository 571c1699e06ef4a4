"""thawline: trials that differ in their rates, one after the other, over the same stored features."""

from pathlib import Path

import numpy as np
from contestants.ours import recipe_of, set_up, store_of
from contestants.task import Prepared, Task, Trained

from thawline.config.choices import PrefixCacheUse
from thawline.training.once import Training
from thawline.training.prefix.cache import PrefixCache


def rates(task: Task) -> list[float]:
    """Around the task's, a factor of four at most."""
    return [float(task.learning_rate * factor) for factor in np.geomspace(0.25, 4, task.trials)]


def prepare(path: Path) -> Prepared:
    """Networks are there before the clock starts."""
    task = Task.load(path)
    settings, features = set_up(task, PrefixCacheUse.always)
    store, cache = store_of(task), PrefixCache(features, settings)
    recipes = [recipe_of(task, rate) for rate in rates(task)]
    networks = [task.network() for _ in recipes]

    def train() -> Trained:
        losses = []
        for network, recipe in zip(networks, recipes, strict=True):
            training = Training(network, recipe, store, settings, seed=0, mirror=False, cache=cache)
            losses.append(training.run().row["train_loss"])
        return {"losses": losses}

    return train
