"""Greedy soup: several trainings from one head, averaged as far as the validation pictures approve."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import nn

from thawline.config.sections import Finetune, Trainer
from thawline.data.store import Store
from thawline.training.averaging import State, greedy_soup, snapshot
from thawline.training.classifier import Row
from thawline.training.features.cache import PrefixCache
from thawline.training.fit import Fitted
from thawline.training.run import Training, finetune_once


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
    """As `finetune_once`, `recipe.soup` times from the same weights, each with an order and augmentation
    of its own, and leave their greedy soup in `network` (Wortsman et al. 2022b).

    BatchNorm statistics of every average are measured anew on the training pictures. The history is the
    best training's, with one more row for the average if it is of several; its cost is that of one.
    """
    if recipe.soup == 1:
        return finetune_once(
            network,
            recipe,
            store,
            trainer,
            seed=seed,
            mirror=mirror,
            after_epoch=after_epoch,
            checkpoint=checkpoint,
            accumulate=accumulate,
            cache=cache,
        )
    start = snapshot(network)
    fits, states = [], []
    for member in range(recipe.soup):
        network.load_state_dict(start)
        training = Training(
            network,
            recipe,
            store,
            trainer,
            seed=member_seed(seed, member),
            mirror=mirror,
            accumulate=accumulate,
            cache=cache,
        )
        fits.append(training.run(after_epoch, checkpoint and checkpoint / f"training-{member}"))
        states.append(snapshot(network))
    started = time.monotonic()

    def score(state: State) -> tuple[float, float]:
        network.load_state_dict(state)
        training.renew_statistics()
        return training.score()

    results = [(fitted.row["val_accuracy"], fitted.row["val_loss"]) for fitted in fits]
    state, used = greedy_soup(states, results, score)
    best = fits[used[0]]
    if len(used) == 1:
        network.load_state_dict(state)
    else:
        best = training.averaged(best, *score(state), time.monotonic() - started)
    return replace(best, soup=tuple(used))


def member_seed(seed: int, member: int) -> int:
    """Of order, augmentation and dropout; the first member's is the fine-tuning's own."""
    return seed if member == 0 else int(np.random.SeedSequence([seed, member]).generate_state(1)[0])
