"""Small folders of pictures that look like nothing, each different from every other."""

import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

from thawline.data.content import file_at
from thawline.data.decoding import Decoder
from thawline.data.picture_files import open_picture
from thawline.data.transform import Transform

settings.register_profile("data", deadline=None, max_examples=25)  # the first example pays for imports
settings.load_profile("data")

Write = Callable[[Path, Mapping[str, int]], list[Path]]


@pytest.fixture(scope="session")
def transform() -> Transform:
    return Transform(16, 16, 3, "crop", "bilinear", (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


@pytest.fixture(scope="session")
def noise() -> Callable[[str], Image.Image]:
    """A picture that depends on the name only."""

    def make(name: str) -> Image.Image:
        random = np.random.default_rng(zlib.crc32(name.encode()))
        return Image.fromarray(random.integers(0, 256, (20, 24, 3), np.uint8))

    return make


@pytest.fixture(scope="session")
def decode(transform: Transform) -> Callable[[Path], Image.Image]:
    """The picture in a file, as training and serving see it before it is made square."""

    def decoded(path: Path) -> Image.Image:
        with Decoder(transform).stretched(lambda: open_picture(file_at(path))) as (pixels, _):
            return pixels

    return decoded


@pytest.fixture(scope="session")
def write_pictures(noise: Callable[[str], Image.Image]) -> Write:
    """Write so many pictures into each sub-folder of a folder; the paths written."""

    def write(root: Path, counts: Mapping[str, int]) -> list[Path]:
        paths = []
        for folder, count in counts.items():
            (root / folder).mkdir(parents=True, exist_ok=True)
            for index in range(count):
                paths.append(root / folder / f"{index:03d}.png")
                noise(f"{folder}/{index}").save(paths[-1])
        return paths

    return write
