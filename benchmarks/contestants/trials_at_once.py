"""thawline: trials that differ in their learning rates, as one batch of models."""

from pathlib import Path

from contestants.ours import recipe_of, set_up, store_of
from contestants.task import Prepared, Task, Trained
from contestants.trials_in_turn import rates

from thawline.config.choices import PrefixCacheUse
from thawline.training.at_once import Member, train_at_once
from thawline.training.once import Training
from thawline.training.prefix.cache import PrefixCache


def prepare(path: Path) -> Prepared:
    task = Task.load(path)
    settings, features = set_up(task, PrefixCacheUse.always)
    store, cache, network = store_of(task), PrefixCache(features, settings), task.network()
    recipes = [recipe_of(task, rate) for rate in rates(task)]

    def train() -> Trained:
        start = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        training = Training(network, recipes[0], store, settings, seed=0, mirror=False, cache=cache)
        done = train_at_once(training, [Member(recipe, 0, start) for recipe in recipes])
        if isinstance(done, str):
            raise SystemExit(done)
        fitted = [done.take(place) for place in range(len(recipes))]
        return {
            "losses": [each.row["train_loss"] for each in fitted],
            "memory": fitted[0].cost["peak_memory_bytes"],
        }

    return train
