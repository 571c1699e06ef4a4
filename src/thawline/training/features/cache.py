"""Which trainings read stored features in place of pictures, and features for whoever solves heads."""

import logging
from collections.abc import Collection
from pathlib import Path

import numpy as np
import torch
from torch import nn

from thawline.config.errors import UserError
from thawline.config.sections import AugmentationName, Mix, PrefixCacheUse, Trainer
from thawline.data.batches import Batches
from thawline.data.store import Store
from thawline.models.device import device_of, in_half_precision
from thawline.models.freezing import PartlyFrozen
from thawline.training.batches import Pictures
from thawline.training.batches import batches as batches_of
from thawline.training.features.compute import features_in_memory
from thawline.training.features.prefix import StoredPrefix
from thawline.training.processes import place

log = logging.getLogger(__name__)

FILL_BATCH = 64
"""Pictures the prefix computes at once when its features are stored."""

GIBIBYTE = 2**30

FeatureBatches = tuple[Batches, Batches]
"""Training and validation batches that hold features in place of pictures."""


class PrefixCache:
    """Stored features below `folder`, used as `settings` say (`trainer.prefix_cache`)."""

    def __init__(self, folder: Path, settings: Trainer) -> None:
        self.folder, self.settings = folder, settings
        self.limit = int(settings.prefix_cache_gib * GIBIBYTE)
        self._checked: set[str] = set()
        self._refused: set[str] = set()
        self._said: set[str] = set()

    def prefix(
        self, network: nn.Module, depth: int, device: torch.device, batch: int = FILL_BATCH
    ) -> StoredPrefix:
        """Return the first `depth` units of `network`, which is moved to `device`, with their features."""
        half = in_half_precision(self.settings)
        return StoredPrefix(
            network.to(device),
            depth,
            device,
            folder=self.folder,
            half=half,
            batch=batch,
            limit=self.limit,
            checked=self._checked,
        )

    def feature_batches(
        self,
        held: PartlyFrozen,
        train: tuple[Store, Batches],
        val: tuple[Store, Batches],
        *,
        epochs: int,
        device: torch.device,
        fill_batch: int = FILL_BATCH,
    ) -> FeatureBatches | None:
        """Return batches of what the prefix of `held` makes of both parts; None where the pictures themselves
        are to be used.

        The features of the pictures are computed and stored first, unless they are already.

        Args:
            held: on any device; it is moved to `device`.
            train, val: a part of a store and the batches made of it.
            epochs: how often every picture is going to be used.
        """
        pictures = len(train[0]) + len(val[0])
        if self.settings.prefix_cache is PrefixCacheUse.never or held.depth == 0 or not pictures:
            return None
        if train[1].variants is None:
            self._say("each epoch augments every picture anew (finetune.views stores a number of variants)")
            return None
        prefix = self.prefix(held, held.depth, device, fill_batch)
        if prefix.address in self._refused:
            return None
        asks = self.settings.prefix_cache is PrefixCacheUse.auto
        shared = train[1].augmentation is AugmentationName.none
        try:
            if asks and not self._worth(prefix, train, val, epochs):
                return None
            learnt, validated = (
                batches.given(prefix.variants(store, batches, shared)) for store, batches in (train, val)
            )
        except (UserError, OSError) as error:
            # the pictures are still there
            self._refused.add(prefix.address)
            self._say(str(error), held.depth)
            return None
        return learnt, validated

    def _worth(
        self, prefix: StoredPrefix, train: tuple[Store, Batches], val: tuple[Store, Batches], epochs: int
    ) -> bool:
        variants = train[1].variants or 0
        speed = prefix.speed(train[1])
        again, stored = speed.seconds(epochs, variants)
        needed = speed.bytes * (len(train[0]) * variants + len(val[0]))
        worth = speed.worth(epochs, variants) and needed <= self.limit
        use = "stored and read" if worth else "computed"
        self._say(
            f"its features, {speed.bytes} bytes a picture, are {use} in each of {epochs} epochs: "
            f"{1e3 * again:.3g} ms a picture to compute them each time, {1e3 * stored:.3g} ms to store them",
            prefix.depth,
        )
        if needed > self.limit:
            self._say(f"{needed} bytes of features, but trainer.prefix_cache_gib allows {self.limit}")
        return worth

    def _say(self, reason: str, depth: int | None = None) -> None:
        """Log `reason` once per process: a search has many alike."""
        if reason not in self._said:
            self._said.add(reason)
            unit = "" if depth is None else f" ({depth} units)"
            log.info("frozen prefix%s: %s", unit, reason)


def features(
    network: nn.Module,
    depths: Collection[int],
    store: Store,
    settings: Trainer,
    *,
    cache: PrefixCache | None = None,
    batches: Batches | None = None,
) -> dict[int, np.ndarray]:
    """Return what the first units of `network`, frozen, make of each picture of `store`, for each number of
    units in `depths`: (n, …) float32 in the order of the store, or (variants * n, …), one variant of all
    pictures after the other.

    They are read from `cache` and stored there, unless it is None, `trainer.prefix_cache` is `never` or
    there is no room; else they are computed in one pass and kept in memory. A deeper prefix goes on from what
    a shallower one made.

    Args:
        network: an initial target model, or the `PartlyFrozen` that holds it. It comes back on the CPU, its
            leading units in evaluation mode.
        batches: of the pictures of `store`, with a number of variants of each; None: the pictures as they
            are.

    Raises:
        UserError: the network does not keep pictures apart at a depth.
    """
    device, pictures = device_of(settings), batches or batches_of(store, FILL_BATCH)
    try:
        if cache is not None and settings.prefix_cache is not PrefixCacheUse.never:
            try:
                return {
                    depth: _stored(network, depth, store, pictures, device, cache) for depth in sorted(depths)
                }
            except (UserError, OSError) as error:
                log.info("frozen prefix: %s", error)
        pictures, half, found = pictures.in_order(FILL_BATCH), in_half_precision(settings), []
        for variant in range(pictures.variants or 0):
            pictures.set_epoch(variant)
            found.append(features_in_memory(network, depths, pictures, device, half=half))
        return {depth: np.concatenate([each[depth] for each in found]) for depth in depths}
    finally:
        network.cpu()


def _stored(
    network: nn.Module,
    depth: int,
    store: Store,
    pictures: Batches,
    device: torch.device,
    cache: PrefixCache,
) -> np.ndarray:
    everything = np.arange(len(store))
    variants = cache.prefix(network, depth, device).variants(store, pictures)
    return np.concatenate([rows(everything, torch.device("cpu")).float().numpy() for rows in variants])


def stored_batches(
    cache: PrefixCache | None, held: PartlyFrozen, pictures: Pictures, epochs: int, device: torch.device
) -> FeatureBatches | None:
    """Return batches of what the prefix of `held` makes of `pictures`, which are used in so many epochs; None
    where they are not stored: see `PrefixCache.feature_batches`."""
    # pictures that are mixed are new ones; several processes would each decide for themselves
    if cache is None or pictures.recipe.mix is not Mix.none or place()[1] > 1:
        return None
    return cache.feature_batches(
        held,
        (pictures.train, pictures.training()),
        (pictures.val, pictures.validation()),
        epochs=epochs,
        device=device,
        fill_batch=min(FILL_BATCH, pictures.validation_batch),
    )
