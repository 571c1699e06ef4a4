"""Greedy soup: several trainings from one head, averaged as far as the validation pictures approve."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import nn

from thawline.config.sections import Finetune, Trainer
from thawline.data.store import Store
from thawline.models.state import load_state, snapshot
from thawline.progress import part
from thawline.training.averaging import greedy_soup
from thawline.training.features.cache import PrefixCache
from thawline.training.history import Fitted, Row
from thawline.training.run import Training


def finetune_soup(
    network: nn.Module,
    recipe: Finetune,
    store: Store,
    trainer: Trainer,
    *,
    seed: int,
    mirror: bool,
    after_epoch: Sequence[Callable[[Row], None]] = (),
    checkpoint: Path | None = None,
    accumulate: int = 1,
    cache: PrefixCache | None = None,
) -> Fitted:
    """Fine-tune `network` by `recipe`, `recipe.soup` times from the same weights, each with an order and
    augmentation of its own, and leave their greedy soup in it (Wortsman et al. 2022b).

    BatchNorm statistics of every average are measured anew on the training pictures. The history is the
    best training's, with one more row for the average if it is of several; its cost is that of one.
    Arguments and errors as for `Training` and `Training.run`.
    """

    def training_of(member: int) -> Training:
        own = member_seed(seed, member)
        return Training(
            network, recipe, store, trainer, seed=own, mirror=mirror, accumulate=accumulate, cache=cache
        )

    if recipe.soup == 1:
        return training_of(0).run(after_epoch, checkpoint)
    start = snapshot(network)
    fits, states = [], []
    for member in range(recipe.soup):
        load_state(network, start)
        training = training_of(member)
        with part("training", member + 1, recipe.soup):
            fits.append(training.run(after_epoch, checkpoint and checkpoint / f"training-{member}"))
        states.append(snapshot(network))
    started = time.monotonic()
    results = [(fitted.row["val_accuracy"], fitted.row["val_loss"]) for fitted in fits]
    state, used = greedy_soup(states, results, lambda average: training.score(average)[1])
    best = fits[used[0]]
    if len(used) == 1:
        load_state(network, state)
    else:
        best = training.averaged(best, state, started)
    return replace(best, soup=tuple(used))


def member_seed(seed: int, member: int) -> int:
    """Return the seed of a member's order, augmentation and dropout; the first one's is the fine-tuning's."""
    return seed if member == 0 else int(np.random.SeedSequence([seed, member]).generate_state(1)[0])
