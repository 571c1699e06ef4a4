"""The pictures that are trained on, and those of a source."""

import io
import re
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image


def pictures(data: Path | None, count: int, size: int) -> tuple[np.ndarray, np.ndarray, int]:
    """`count` pictures `(n, size, size, 3)` uint8, their labels and the number of classes: as many of every
    class in the tars of `data`, or random ones of two."""
    if data is None:
        random = np.random.default_rng(0)
        images = random.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
        return images, random.permutation(np.arange(count) % 2), 2
    found = by_class(data, ("antsbees", "hotdog"), size)
    images, labels = evenly(found, count)
    return images, labels, len(found)


def by_class(data: Path, names: Sequence[str], size: int) -> list[list[np.ndarray]]:
    """The training pictures of each class in these tars, `(size, size, 3)` uint8."""
    found: dict[str, list[np.ndarray]] = {}
    for name in names:
        with tarfile.open(data / f"{name}.tar") as tar:
            for member in sorted((each for each in tar if each.isfile()), key=lambda each: each.name):
                part = re.search(r"train/([^/]+)/[^/]+\.(?:jpe?g|png)$", member.name, re.IGNORECASE)
                handle = part and tar.extractfile(member)
                if part and handle:
                    picture = Image.open(io.BytesIO(handle.read())).convert("RGB").resize((size, size))
                    found.setdefault(f"{name}/{part[1]}", []).append(np.asarray(picture))
    return list(found.values())


def evenly(found: list[list[np.ndarray]], count: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` of the pictures `found` of every class, taken from each in turn, and their labels."""
    turns = [
        (label, place) for place in range(count) for label in range(len(found)) if place < len(found[label])
    ]
    chosen = np.random.default_rng(0).permutation(turns[:count])
    images = np.stack([found[label][place] for label, place in chosen])
    return images, chosen[:, 0].copy()
