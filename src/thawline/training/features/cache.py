"""Which trainings read stored features in place of pictures, and features for whoever solves heads."""

import logging
from collections.abc import Collection
from pathlib import Path

import numpy as np
import torch
from torch import nn

from thawline.config.errors import UserError
from thawline.config.sections import Mix, Trainer
from thawline.data.augment import FIXED
from thawline.data.batches import Batches, Rows
from thawline.data.store import Store
from thawline.models.device import device_of, in_half_precision
from thawline.models.freezing import PartlyFrozen
from thawline.training.batches import Pictures
from thawline.training.batches import batches as batches_of
from thawline.training.features.compute import features_in_memory
from thawline.training.features.prefix import StoredPrefix
from thawline.training.processes import place

log = logging.getLogger(__name__)

FILL_BATCH = 32
"""Pictures the prefix computes at once when its features are stored; fewer where a recipe's steps have fewer:
what one pass stored, another that computes as many at once can read."""

FeatureBatches = tuple[Batches, Batches]
"""Training and validation batches that hold features in place of pictures."""


class PrefixCache:
    """Stored features below `folder`, used unless `settings` say otherwise (`trainer.prefix_cache`)."""

    def __init__(self, folder: Path, settings: Trainer) -> None:
        self.folder, self.settings = folder, settings
        self._checked: set[str] = set()
        self._refused: set[str] = set()
        self._said: set[str] = set()

    def prefix(
        self, network: nn.Module, depth: int, device: torch.device, batch: int = FILL_BATCH
    ) -> StoredPrefix:
        """Return the first `depth` units of `network`, which is moved to `device`, with their features."""
        network = network.to(device)
        return StoredPrefix(network, depth, device, self.folder, self.settings, batch, self._checked)

    def put(
        self, network: nn.Module, depth: int, store: Store, values: np.ndarray, batch: int = FILL_BATCH
    ) -> None:
        """Store `values` (n, ...) as what the first `depth` units of `network`, on the CPU, make of the
        pictures of `store` as they are, if that is what they make of a few of them."""
        if not self.settings.prefix_cache:
            return
        try:
            self.prefix(network, depth, device_of(self.settings), batch).put(
                batches_of(store, batch), store, values
            )
        except (UserError, OSError) as error:
            self._say(str(error))
        finally:
            network.cpu()

    def feature_batches(
        self, held: PartlyFrozen, pictures: Pictures, device: torch.device
    ) -> FeatureBatches | None:
        """Return batches of what the prefix of `held` makes of `pictures`, computed on `device` and stored
        unless they are already; None where the pictures themselves are to be used.

        `held` is moved to `device`.
        """
        train, val = pictures.training(), pictures.validation()
        # pictures that are mixed are new ones; several processes would each decide for themselves
        new, together = pictures.recipe.mix is not Mix.none, place()[1] > 1
        if not self.settings.prefix_cache or held.depth == 0 or new or together:
            return None
        if train.variants is None:
            self._say("each epoch augments every picture anew (finetune.views stores a number of variants)")
            return None
        prefix = self.prefix(held, held.depth, device, min(FILL_BATCH, pictures.validation_batch))
        if prefix.address in self._refused:
            return None
        shared = train.augmentation in FIXED
        try:
            learnt = train.given(prefix.variants(pictures.train, train))
            return learnt, val.given(prefix.variants(pictures.val, val, shared))
        except (UserError, OSError) as error:
            # the pictures are still there
            self._refused.add(prefix.address)
            self._say(f"({held.depth} units) {error}")
            return None

    def _say(self, reason: str) -> None:
        """Log `reason` once per process: a search has many alike."""
        if reason not in self._said:
            self._said.add(reason)
            log.info("frozen prefix: %s", reason)


def features(
    network: nn.Module,
    depths: Collection[int],
    store: Store,
    settings: Trainer,
    *,
    cache: PrefixCache | None = None,
    batches: Batches | None = None,
    at_once: int = FILL_BATCH,
) -> dict[int, np.ndarray]:
    """Return what the first units of `network`, frozen, make of each picture of `store`, for each number of
    units in `depths`: (n, …) float32 in the order of the store, or (variants * n, …), one variant of all
    pictures after the other.

    They are read from `cache` and stored there, unless it is None, `trainer.prefix_cache` is false or there
    is no room; else they are computed in one pass and kept in memory. A deeper prefix goes on from what
    a shallower one made.

    Args:
        network: an initial target model, or the `PartlyFrozen` that holds it. It comes back on the CPU, its
            leading units in evaluation mode.
        batches: of the pictures of `store`, with a number of variants of each; None: the pictures as they
            are.
        at_once: pictures to compute at once; fewer take less memory.

    Raises:
        UserError: the network does not keep pictures apart at a depth.
    """
    device, pictures = device_of(settings), batches or batches_of(store, at_once)
    try:
        if cache is not None and settings.prefix_cache:
            try:
                prefixes = {depth: cache.prefix(network, depth, device, at_once) for depth in sorted(depths)}
                return {
                    depth: _everything(each.variants(store, pictures), len(store))
                    for depth, each in prefixes.items()
                }
            except (UserError, OSError) as error:
                log.info("frozen prefix: %s", error)
        pictures, half, found = pictures.in_order(at_once), in_half_precision(settings), []
        for variant in range(pictures.variants or 0):
            pictures.set_epoch(variant)
            found.append(features_in_memory(network, depths, pictures, device, half=half))
        return {depth: np.concatenate([each[depth] for each in found]) for depth in depths}
    finally:
        network.cpu()


def _everything(variants: list[Rows], count: int) -> np.ndarray:
    """Return (variants * count, …) float32: all rows of each variant of so many pictures."""
    everything, cpu = np.arange(count), torch.device("cpu")
    return np.concatenate([rows(everything, cpu).float().numpy() for rows in variants])
