"""Features of the pictures of one fine-tuning: as arrays, or in batches in place of the pictures."""

from collections.abc import Collection

import numpy as np
import torch
from torch import nn

from thawline.config.errors import UserError
from thawline.config.sections import Mix, PrefixCacheUse, Trainer
from thawline.data.batches import Batches
from thawline.data.store import Store
from thawline.models.device import device_of, in_half_precision
from thawline.models.freezing import PartlyFrozen
from thawline.training.batches import Pictures
from thawline.training.batches import batches as batches_of
from thawline.training.features.cache import FILL_BATCH, FeatureBatches, PrefixCache
from thawline.training.features.compute import features_in_memory
from thawline.training.processes import place


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
    there is no room; else they are computed in one pass and kept in memory.

    Args:
        network: an initial target model, or the `PartlyFrozen` that holds it. It comes back on the CPU.
        batches: of the pictures of `store`, with a number of variants of each; None: the pictures as they
            are.
    """
    device, batches = device_of(settings), batches or batches_of(store, FILL_BATCH)
    try:
        if cache is not None and settings.prefix_cache is not PrefixCacheUse.never:
            try:
                return {
                    depth: cache.features(network, depth, store, batches, device) for depth in sorted(depths)
                }
            except (UserError, OSError) as error:
                cache.say(str(error))
        batches, found = batches.in_order(FILL_BATCH), []
        assert batches.variants is not None
        for variant in range(batches.variants):
            batches.set_epoch(variant)
            half = in_half_precision(settings)
            found.append(features_in_memory(network, depths, batches, device, half=half))
        return {depth: np.concatenate([each[depth] for each in found]) for depth in depths}
    finally:
        network.cpu()
