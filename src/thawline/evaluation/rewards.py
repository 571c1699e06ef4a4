"""The models before and after a reward phase are asked about the test pictures, each decided for in two
ways."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from thawline.artifacts import BEFORE_REWARD, CARD, RECIPE, Artifacts, seed_weights
from thawline.config.sections import Config, Contender
from thawline.data.store import groups_of, open_store
from thawline.evaluation.asking import Asking
from thawline.evaluation.decisions import Asked, arms, compared
from thawline.evaluation.tables import Predicted
from thawline.training.recipe import read_chosen


def rewards_on_test(
    config: Config, artifacts: Artifacts, asking: Asking, models: Sequence[Predicted]
) -> dict[str, Any] | None:
    """Return what metrics.json says of the reward: `compared`, of the fine-tuned contender's `models`; None
    where no reward phase made them."""
    name = Contender.finetuned.name
    folder = artifacts.stage("finetune", name)
    before = folder / BEFORE_REWARD
    if not before.is_dir():
        return None
    recipe = read_chosen(artifacts.stage("search", name) / RECIPE).recipe
    store, test = open_store(artifacts.data("target")), asking.test
    train, val = store.teaching(), store.part("val")
    if recipe.refit:
        train, val = store, val.divided(np.arange(0), np.arange(0))

    def said(place: Path, seed: int, of_test: np.ndarray | None = None) -> Asked:
        weights = place / "weights" / seed_weights(seed)
        ask = partial(asking.probabilities, weights, place / CARD)
        of_test = ask() if of_test is None else of_test
        return Asked(of_test, ask(val) if len(val) else of_test[:0], val.labels)

    counts = np.bincount(train.labels, minlength=len(train.classes))
    found = [
        arms(
            recipe, counts, test.classes, said(before, each.seed), said(folder, each.seed, each.probabilities)
        )
        for each in models
        if each.contender == name
    ]
    clusters = groups_of(test.manifest)
    return compared(recipe, test.labels, test.classes, found, clusters, config.evaluate.confidence)
