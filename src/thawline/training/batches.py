"""A store's pictures in batches, and what a network makes of those that validate."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import nn

from thawline.config.sections import AugmentationName, Finetune
from thawline.data.batches import Batches, largest_part
from thawline.data.store import Store
from thawline.models.inference import logits, worth
from thawline.training.processes import place, summed

VALIDATION_BATCH = 256


def batches(
    store: Store,
    batch_size: int,
    *,
    seed: int | None = None,
    augmentation: AugmentationName = AugmentationName.none,
    mirror: bool = False,
    views: int = 0,
) -> Batches:
    """Return the store's pictures in batches; only with a `seed`, which is to train, are they shuffled and
    come with the store's targets in place of labels, where it has some."""
    return Batches(
        store.images,
        store.labels if seed is None else store.supervision,
        store.transform,
        batch_size,
        shuffle=seed is not None,
        seed=seed or 0,
        augmentation=augmentation,
        mirror=mirror,
        views=views,
    )


@dataclass(frozen=True)
class Pictures:
    """The pictures of one fine-tuning: those it learns from and those that validate it, in batches."""

    store: Store
    recipe: Finetune
    seed: int
    mirror: bool
    accumulate: int

    @cached_property
    def train(self) -> Store:
        return self.store.teaching()

    @cached_property
    def val(self) -> Store:
        return self.store.part("val")

    def training(self) -> Batches:
        """Return the training pictures in whole batches, shuffled and augmented as the recipe says."""
        return batches(
            self.train,
            self.recipe.batch_size,
            seed=self.seed,
            augmentation=self.recipe.augmentation,
            mirror=self.mirror,
            views=self.recipe.views,
        )

    def validation(self) -> Batches:
        """Return the validation pictures in order and as they are."""
        return batches(self.val, self.validation_batch)

    @property
    def validation_batch(self) -> int:
        """Pictures validated at once: no more than are learned from at once, or a training would need most of
        its memory where nothing is learned: 256 photographs at 224 px took one from 4 to 10 GB."""
        return min(largest_part(self.recipe.batch_size, self.accumulate), VALIDATION_BATCH)

    def plain(self) -> Iterator[torch.Tensor]:
        """Yield the training pictures as validation would see them, in batches of nearly equal size."""
        count = len(self.train)
        for images, _, _ in batches(self.train, count).in_parts(-(-count // self.validation_batch)):
            yield images


def validate(
    network: nn.Module,
    val: Batches,
    device: torch.device,
    *,
    half: bool = False,
    from_features: bool = False,
) -> tuple[float, float]:
    """Return the mean loss and the accuracy on all pictures of `val`, of which each process asks about its
    share; both NaN where there are none. Other arguments as for `inference.logits`."""
    found = logits(network, val.shared(*place()), device, half=half, from_features=from_features)
    correct, losses = worth(*found)
    total = torch.tensor([losses.sum(), correct.sum(), len(correct)], dtype=torch.float64)
    loss, right, count = summed(total).tolist()
    return (loss / count, right / count) if count else (math.nan, math.nan)
