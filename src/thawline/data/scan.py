"""Decode every picture once: check that it can be read, hash it, and keep it at the input size."""

import hashlib
import math
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import imagehash
import numpy as np
import pandas as pd
from PIL import Image

from thawline.data.collection import Collection, Dropped
from thawline.data.store import require_space
from thawline.data.transform import Transform, UnusablePictureError
from thawline.machine import cores
from thawline.progress import progress

_BATCH = 16
"""Pictures a thread decodes in one go; two such batches per thread are in flight, so memory is flat."""
T = TypeVar("T")


@dataclass(frozen=True)
class Scan:
    """The pictures that could be read. `images[i]`, `(size, size, channels)` uint8, is row i of `pictures`,
    whose columns are an `Item`'s and content_hash, width, height (of the upright original) and
    perceptual_hash (uint64). `images` is backed by a file that vanishes with the process."""

    images: np.ndarray
    pictures: pd.DataFrame
    dropped: tuple[Dropped, ...]


class _UnreadablePictureError(Exception):
    pass


@dataclass(frozen=True)
class _Decoded:
    image: np.ndarray
    measured: dict[str, str | int]


def scan(collection: Collection, transform: Transform, directory: Path) -> Scan:
    """Decode the whole collection in order; unreadable pictures are dropped with the reason.

    Memory use does not grow with the number of pictures: they go to a nameless file in `directory`,
    which the system removes however the process ends.
    """
    count = len(collection.items)
    images = _nameless_array(directory, (count, transform.size, transform.size, transform.channels))
    rows: list[dict[str, object]] = []
    dropped = []
    with progress("decoding", count) as advance:
        for index, result in enumerate(_in_order(lambda index: _decode(collection, transform, index), count)):
            advance()
            if isinstance(result, Dropped):
                dropped.append(result)
                continue
            images[len(rows)] = result.image
            rows.append({**asdict(collection.items[index]), **result.measured})
    columns = ["path", "label", "split", "group", "content_hash", "width", "height", "perceptual_hash"]
    pictures = pd.DataFrame(rows, columns=columns).astype({"perceptual_hash": np.uint64})
    return Scan(images[: len(rows)], pictures, tuple(dropped))


def _decode(collection: Collection, transform: Transform, index: int) -> _Decoded | Dropped:
    path = collection.items[index].path
    try:
        pixels = _pixels(collection, transform, index)
        image = transform.squared(pixels)
    except UnusablePictureError as error:
        return Dropped(path, "cannot be used", str(error))
    except _UnreadablePictureError as error:
        return Dropped(path, "cannot be read", str(error))
    width, height = pixels.size
    content = f"{pixels.mode} {width} {height} ".encode() + pixels.tobytes()
    measured: dict[str, str | int] = {
        "content_hash": hashlib.sha256(content).hexdigest(),
        "width": width,
        "height": height,
        "perceptual_hash": _perceptual_hash(pixels),
    }
    return _Decoded(image, measured)


def _pixels(collection: Collection, transform: Transform, index: int) -> Image.Image:
    try:
        with collection.open(index) as picture:
            return transform.pixels(picture)
    except UnusablePictureError:
        raise
    except Exception as error:  # Pillow's decoders raise nearly everything for damaged files.
        # Their words name addresses in memory and folders, which no artifact may.
        raise _UnreadablePictureError(type(error).__name__) from error


def _perceptual_hash(pixels: Image.Image) -> int:
    bits = np.packbits(imagehash.phash(pixels).hash)
    return int.from_bytes(bits.tobytes(), "big")


def _nameless_array(directory: Path, shape: tuple[int, ...]) -> np.ndarray:
    directory.mkdir(parents=True, exist_ok=True)
    size = math.prod(shape)
    require_space(directory, 2 * size)  # This file, and the stores copied from it.
    if size == 0:
        return np.empty(shape, np.uint8)
    with tempfile.TemporaryFile(dir=directory) as handle:
        return np.memmap(handle, np.uint8, mode="w+", shape=shape)


def _in_order(function: Callable[[int], T], count: int) -> Iterator[T]:
    """Yield function(0), function(1), ... computed by threads; decoding and hashing release the GIL."""
    workers = cores()
    pending: deque[Future[list[T]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, count, _BATCH):
            indices = range(start, min(start + _BATCH, count))
            pending.append(pool.submit(lambda indices: [function(index) for index in indices], indices))
            if len(pending) > 2 * workers:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()
