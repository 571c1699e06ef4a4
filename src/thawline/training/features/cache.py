"""Which trainings read stored features in place of pictures, and features for whoever solves heads."""

import logging
from pathlib import Path

import numpy as np
import torch
from torch import nn

from thawline.config.errors import UserError
from thawline.config.sections import AugmentationName, PrefixCacheUse, Trainer
from thawline.data.batches import Batches
from thawline.data.store import Store
from thawline.models.device import in_half_precision
from thawline.models.freezing import PartlyFrozen
from thawline.training.features.prefix import StoredPrefix

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
            self.say("each epoch augments every picture anew (finetune.views stores a number of variants)")
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
            self.say(str(error), held.depth)
            return None
        return learnt, validated

    def features(
        self, network: nn.Module, depth: int, store: Store, batches: Batches, device: torch.device
    ) -> np.ndarray:
        """Return what the first `depth` units of `network` make of every variant of each picture of `store`,
        from what is stored. See `pictures.features`."""
        network.to(device)
        found = self.prefix(network, depth, device).variants(store, batches)
        everything = np.arange(len(store))
        return np.concatenate([rows(everything, torch.device("cpu")).float().numpy() for rows in found])

    def _worth(
        self, prefix: StoredPrefix, train: tuple[Store, Batches], val: tuple[Store, Batches], epochs: int
    ) -> bool:
        variants = train[1].variants or 0
        speed = prefix.speed(train[1])
        again, stored = speed.seconds(epochs, variants)
        needed = speed.bytes * (len(train[0]) * variants + len(val[0]))
        worth = speed.worth(epochs, variants) and needed <= self.limit
        use = "stored and read" if worth else "computed"
        self.say(
            f"its features, {speed.bytes} bytes a picture, are {use} in each of {epochs} epochs: "
            f"{1e3 * again:.3g} ms a picture to compute them each time, {1e3 * stored:.3g} ms to store them",
            prefix.depth,
        )
        if needed > self.limit:
            self.say(f"{needed} bytes of features, but trainer.prefix_cache_gib allows {self.limit}")
        return worth

    def say(self, reason: str, depth: int | None = None) -> None:
        """Log `reason` once per process: a search has many alike."""
        if reason not in self._said:
            self._said.add(reason)
            unit = "" if depth is None else f" ({depth} units)"
            log.info("frozen prefix%s: %s", unit, reason)
