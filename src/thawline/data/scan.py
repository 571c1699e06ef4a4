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

from thawline.config.pictures import MAX_MEGAPIXELS
from thawline.data.collection import Collection, Dropped, Item
from thawline.data.decoding import Decoder
from thawline.data.levels import UndefinedLevelsError
from thawline.data.picture_files import UnreadablePictureError
from thawline.data.samples import Samples
from thawline.data.store import require_space
from thawline.data.transform import Range, Transform, UnusablePictureError
from thawline.machine import cores
from thawline.progress import progress

_BATCH = 16
"""Pictures a thread decodes in one go; two such batches per thread are in flight, so memory is flat."""
_MEASURED = ("content_hash", "width", "height", "perceptual_hash", "low", "high", "integers", "kind")
T = TypeVar("T")


@dataclass(frozen=True)
class Scan:
    """The pictures that could be read. `images[i]`, `(size, size, channels)` uint8, is row i of `pictures`,
    whose columns are an `Item`'s and content_hash, width, height (upright, as it was read), perceptual_hash
    (uint64), of more than 8 bits, the lowest and highest value (low, high; NaN: 8 bits) and whether these are
    integers, and the kind of file (`JPEG, RGB`). `positions[i]` is its place in the collection. `undefined`
    has the limits of pictures that are dropped for want of a defined black and white. `images` is backed by a
    file that vanishes with the process; those of more than 8 bits are as they should be after `settle`."""

    images: np.ndarray
    pictures: pd.DataFrame
    dropped: tuple[Dropped, ...]
    positions: np.ndarray
    undefined: tuple[tuple[Item, Range], ...] = ()

    def settle(self, collection: Collection, decoder: Decoder) -> None:
        """Decode the pictures of more than 8 bits again and store them as `decoder.transform` shows them."""
        rows = np.flatnonzero(self.pictures["high"].notna())
        if len(rows):
            again = self.decoded(collection, decoder, rows, "decoding more than 8 bits")
            for row, image in zip(rows, again, strict=True):
                self.images[row] = image

    def decoded(
        self, collection: Collection, decoder: Decoder, rows: np.ndarray, what: str
    ) -> Iterator[np.ndarray]:
        """Yield the pictures of `rows`, decoded again as `decoder.transform` shows them; say `what` is done
        meanwhile."""

        def decode(index: int) -> np.ndarray:
            return decoder.read(lambda: collection.open(int(self.positions[rows[index]])))[0]

        with progress(what, len(rows)) as advance:
            for image in _in_order(decode, len(rows)):
                yield image
                advance()


@dataclass(frozen=True)
class _Decoded:
    image: np.ndarray
    measured: dict[str, str | float]


def scan(
    collection: Collection, transform: Transform, directory: Path, max_megapixels: float = MAX_MEGAPIXELS
) -> Scan:
    """Decode the whole collection in order; unreadable pictures are dropped with the reason.

    What is measured and hashed is the picture as it is read: one of more than 32 megapixels reduced
    (`Decoder`), which depends on nothing but the picture. Memory use does not grow with the number of
    pictures: they go to a nameless file in `directory`, which the system removes however the process ends.
    """
    count = len(collection.items)
    images = _nameless_array(directory, (count, transform.size, transform.size, transform.channels))
    decoder = Decoder(transform, max_megapixels)
    rows: list[dict[str, object]] = []
    positions: list[int] = []
    dropped = []
    undefined = []
    with progress("decoding", count) as advance:
        for index, result in enumerate(_in_order(lambda index: _decode(collection, decoder, index), count)):
            advance()
            if isinstance(result, UndefinedLevelsError):
                item = collection.items[index]
                undefined.append((item, result.limits))
                result = Dropped(item.path, "black and white are not defined", str(result))
            if isinstance(result, Dropped):
                dropped.append(result)
                continue
            images[len(rows)] = result.image
            positions.append(index)
            rows.append({**asdict(collection.items[index]), **result.measured})
    pictures = pd.DataFrame(rows, columns=["path", "label", "split", "group", *_MEASURED]).astype(
        {"perceptual_hash": np.uint64}
    )
    return Scan(
        images[: len(rows)], pictures, tuple(dropped), np.array(positions, np.int64), tuple(undefined)
    )


def _decode(
    collection: Collection, decoder: Decoder, index: int
) -> _Decoded | Dropped | UndefinedLevelsError:
    path, kinds = collection.items[index].path, [""]

    def open_it() -> Image.Image:
        picture = collection.open(index)
        kinds[0] = ", ".join(filter(None, [picture.format, picture.mode]))
        return picture

    try:
        with decoder.stretched(open_it) as (pixels, samples):
            return _Decoded(
                decoder.transform.squared(pixels), {**_measured(pixels, samples), "kind": kinds[0]}
            )
    except UndefinedLevelsError as error:
        return error
    except UnusablePictureError as error:
        return Dropped(path, "cannot be used", str(error))
    except UnreadablePictureError as error:
        return Dropped(path, "cannot be read", str(error))


def _measured(pixels: Image.Image, samples: Samples | None) -> dict[str, str | float]:
    width, height = pixels.size
    low, high = (math.nan, math.nan) if samples is None else samples.limits
    values = "" if samples is None else f"{low} {high} "
    content = hashlib.sha256(f"{pixels.mode} {width} {height} {values}".encode())
    content.update(pixels.tobytes())
    return {
        "content_hash": content.hexdigest(),
        "width": width,
        "height": height,
        "perceptual_hash": _perceptual_hash(pixels),
        "low": low,
        "high": high,
        "integers": samples is not None and samples.integers,
    }


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
