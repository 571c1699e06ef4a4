"""Batches for training and measuring: slices of the stored pictures, made floats as a whole."""

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Self

import numpy as np
import torch

from thawline.config.sections import AugmentationName
from thawline.data.augment import FIXED, NUMBERS, POLICIES, augment, augment_by_policy, variants
from thawline.data.transform import Transform

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
_ORDER, _CHANGES = 0, 1

Rows = Callable[[np.ndarray, torch.device], torch.Tensor]
"""Returns what a network is given for the pictures at `(b,)` indices, on a device: `(b, …)`."""

NOT_COUNTED = -1
"""Index of a picture that only keeps a process busy while the others train on theirs."""


class Batches:
    """An iterable of (images, labels, indices), the last batch being as small as what is left. Shuffled,
    a single picture that is left joins the batch before it: BatchNorm cannot learn from one alone.

    Images are `(b, channels, size, size)` float32, normalised; labels and indices are `(b,)` int64,
    the indices being positions in `images`. Order and augmentation depend on (seed, epoch, index)
    only, so neither the batch size nor the device changes what becomes of a picture. The epoch is the
    one last given to `set_epoch`; iterating does not advance it. `in_parts` cuts every batch into several,
    `shared` makes them one process's part, `given` has something stored in place of the images. What comes
    may share its memory with the other batches of the epoch: labels and indices are to be left as they are.
    In place of labels there may be targets, `(b, classes)` float32: shares of the classes whose sum is the
    picture's weight.

    images: `(n, size, size, channels)` uint8, may be memory-mapped. views: how many variants of each
    picture augmentation makes, which epochs take in turn; 0: a new one every epoch. device: where batches
    are made and left; the pictures travel there as uint8.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        transform: Transform,
        batch_size: int,
        *,
        shuffle: bool,
        seed: int = 0,
        augmentation: AugmentationName = AugmentationName.none,
        mirror: bool = False,
        views: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        if len(images) != len(labels):
            raise ValueError(f"{len(images)} images but {len(labels)} labels")
        if batch_size < 1:
            raise ValueError(f"batch_size = {batch_size} is below 1")
        kind = np.float32 if np.ndim(labels) == 2 else np.int64
        self.images, self.labels, self.transform = images, np.asarray(labels, kind), transform
        self.batch_size, self.shuffle, self.seed = batch_size, shuffle, seed
        self.augmentation, self.mirror, self.device = augmentation, mirror, torch.device(device)
        self.views = views
        self.epoch = 0
        self.rank, self.world = 0, 1
        self._wanted = 1
        self._given: Sequence[Rows] = ()

    @property
    def variants(self) -> int | None:
        """The number of different variants of each picture; None: as many as epochs."""
        return variants(self.augmentation, self.views, self.mirror)

    def in_order(self, batch_size: int) -> Self:
        """Return the same pictures, unshuffled: in epoch 0 each picture's first variant, and so on."""
        mine = copy.copy(self)
        mine.shuffle, mine.batch_size, mine._wanted, mine.rank, mine.world = False, batch_size, 1, 0, 1
        return mine

    def on(self, device: torch.device) -> Self:
        """Return the same batches, made and left on `device`: pictures travel there as bytes."""
        mine = copy.copy(self)
        mine.device = device
        return mine

    def given(self, variants: Sequence[Rows]) -> Self:
        """Return these batches with what is stored of each variant of the pictures in place of their images.

        Raises `ValueError` unless there is one for each of the `variants`.
        """
        if len(variants) != self.variants:
            raise ValueError(f"{len(variants)} stored variants of pictures that have {self.variants}")
        mine = copy.copy(self)
        mine._given = tuple(variants)
        return mine

    @property
    def parts(self) -> int:
        """The number of parts a full batch comes in; the last of an epoch never comes in more."""
        return parts_in(self.batch_size, self.batch_size, self._wanted)

    def in_parts(self, wanted: int) -> Self:
        """Return these batches cut into `wanted` parts each, which come one after the other: fewer where a
        picture would be alone. Sizes differ by 1 at most; order and augmentation stay the same."""
        mine = copy.copy(self)
        mine._wanted = wanted
        return mine

    def shared(self, rank: int, world: int) -> Self:
        """Return these batches as process `rank` of `world` sees them: its own slice of every batch (or part
        of one), all slices together being the batch.

        What becomes of a picture stays the same, and so does the number of batches: where a batch has no
        picture left for this process, it gets one of the others', whose index is -1: it does not count.
        """
        mine = copy.copy(self)
        mine.rank, mine.world = rank, world
        return mine

    def set_epoch(self, epoch: int) -> None:
        """Choose the order and augmentation of the next iteration; epochs count from 0."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self._places())

    @property
    def sizes(self) -> list[int]:
        """The number of pictures in each batch, or part of one, for all processes together."""
        return [end - start for start, end in self._places()]

    def __iter__(self) -> Iterator[Batch]:
        count = len(self.images)
        order = self._random(_ORDER, self.epoch).permutation(count) if self.shuffle else np.arange(count)
        variant = self.epoch % (self.variants or self.epoch + 1)
        # One row of random numbers per picture, whatever batch it ends up in.
        augments = self.augmentation not in FIXED and not self._given
        changes = self._random(_CHANGES, variant).random((count, NUMBERS)) if augments else None
        # of fixed variants there is none but the picture and its mirror image
        mirrored = self.augmentation in FIXED and variant == 1
        labels, named = (_sent(torch.from_numpy(each), self.device) for each in (self.labels[order], order))
        for place in self._places():
            start, end, counts = self._share(*place)
            if self._given:
                images = self._given[variant](order[start:end], self.device)
            else:
                rows = self._rows(start, order[start:end])
                rows = rows[:, :, ::-1].copy() if mirrored else rows
                images = normalised(self._pixels(rows, order[start:end], changes), self.transform)
            indices = named[start:end] if counts else torch.full((1,), NOT_COUNTED, device=self.device)
            yield images, labels[start:end], indices

    def _share(self, start: int, end: int) -> tuple[int, int, bool]:
        """Return where this process's slice of a batch starts and ends, and whether it counts."""
        first, last = _cut(start, end, self.world)[self.rank]
        return (first, last, True) if last > first else (start, start + 1, False)

    def _places(self) -> list[tuple[int, int]]:
        """Return where in the order each batch, or part of one, starts and ends."""
        count, size = len(self.images), self.batch_size
        alone = self.shuffle and count % size == 1 and 1 < size < count
        starts = range(0, count - alone, size)
        ends = [*starts[1:], count]
        batches = zip(starts, ends[: len(starts)], strict=True)
        return [part for start, end in batches for part in _cut(start, end, self._parts(end - start))]

    def _parts(self, pictures: int) -> int:
        return parts_in(pictures, self.batch_size, self._wanted)

    def _pixels(self, rows: np.ndarray, indices: np.ndarray, changes: np.ndarray | None) -> torch.Tensor:
        """Return `as_pixels` of the pictures `rows`, changed by each picture's row of `changes`."""
        if changes is None:
            return as_pixels(rows, self.device)
        if self.augmentation in POLICIES:
            fill = [255 * mean for mean in self.transform.mean]
            rows = augment_by_policy(rows, changes[indices], self.mirror, self.augmentation, fill)
            return as_pixels(rows, self.device)
        return augment(as_pixels(rows, self.device), changes[indices], self.mirror)

    def _random(self, purpose: int, epoch: int) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(np.random.SeedSequence([self.seed, epoch, purpose])))

    def _rows(self, start: int, indices: np.ndarray) -> np.ndarray:
        # Always a copy, because a tensor cannot share the map's read-only memory.
        if self.shuffle:
            return np.take(self.images, indices, axis=0)
        return np.array(self.images[start : start + len(indices)])


def _cut(start: int, end: int, parts: int) -> list[tuple[int, int]]:
    """Cut the places from `start` to `end` into so many parts; sizes differ by 1 at most, and may be 0."""
    bounds = [start - (-(end - start) * each // parts) for each in range(parts + 1)]
    return list(zip(bounds[:-1], bounds[1:], strict=True))


def parts_in(pictures: int, batch_size: int, wanted: int) -> int:
    """Return in how many parts a batch of `pictures` is computed where one of `batch_size` shall be in
    `wanted`: in parts of equal size, fewer where one would have a single picture, never in more than that."""
    pictures, size = min(pictures, batch_size), -(-batch_size // wanted)
    return max(1, min(-(-pictures // size), pictures // 2))


def largest_part(batch_size: int, wanted: int) -> int:
    """Return the number of pictures in the largest part of a batch of `batch_size`."""
    return -(-batch_size // parts_in(batch_size, batch_size, wanted))


def as_pixels(images: np.ndarray, device: torch.device | str = "cpu") -> torch.Tensor:
    """Return `(b, h, w, channels)` uint8 as `(b, channels, h, w)` float32 in 0..255 on `device`."""
    return _sent(torch.from_numpy(images), device).permute(0, 3, 1, 2).float().contiguous()


def _sent(tensor: torch.Tensor, device: torch.device | str) -> torch.Tensor:
    """Send to a device; to a GPU without waiting for what it still does."""
    if torch.device(device).type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def normalised(pixels: torch.Tensor, transform: Transform) -> torch.Tensor:
    """Make `(b, channels, h, w)` in 0..255 network input: in 0..1, less the mean, over the deviation."""
    mean, std = (
        torch.tensor(values, dtype=torch.float32, device=pixels.device).view(1, -1, 1, 1)
        for values in (transform.mean, transform.std)
    )
    return (pixels / 255 - mean) / std
