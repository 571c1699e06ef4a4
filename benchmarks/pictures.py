"""The pictures that are trained on, and those of a source."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from data_sets import collected


def pictures(data: Path | None, count: int, size: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Return `count` pictures `(n, size, size, 3)` uint8, their labels and the number of classes: as many of
    every class of ants, bees and hotdogs in `data`, or random ones of two."""
    if data is None:
        random = np.random.default_rng(0)
        images = random.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
        return images, random.permutation(np.arange(count) % 2), 2
    found = by_class(data, ("antsbees", "hotdog"), size)
    images, labels = evenly(found, count)
    return images, labels, len(found)


def by_class(data: Path, names: Sequence[str], size: int) -> list[list[np.ndarray]]:
    """Return the training pictures of each class in these data sets, `(size, size, 3)` uint8."""
    found: dict[str, list[np.ndarray]] = {}
    for name in names:
        collection = collected(name, data)
        for place, item in enumerate(collection.items):
            if item.split == "train":
                picture = collection.open(place).convert("RGB").resize((size, size))
                found.setdefault(f"{name}/{item.label}", []).append(np.asarray(picture))
    return list(found.values())


def evenly(found: list[list[np.ndarray]], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return `count` of the pictures `found` of every class, taken from each in turn, and their labels."""
    turns = [
        (label, place) for place in range(count) for label in range(len(found)) if place < len(found[label])
    ]
    chosen = np.random.default_rng(0).permutation(turns[:count])
    images = np.stack([found[label][place] for label, place in chosen])
    return images, chosen[:, 0].copy()
