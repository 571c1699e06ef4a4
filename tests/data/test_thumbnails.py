"""Thumbnails are small, and the same pixels give the same bytes."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from thawline.data.thumbnails import SIDE, emptied, thumbnail, write_thumbnail


@pytest.mark.parametrize(("size", "side"), [(300, SIDE), (16, 16)])
@pytest.mark.parametrize(("channels", "mode"), [(1, "RGB"), (3, "RGB"), (4, "RGBA")])
def test_a_picture_is_made_small_but_never_larger(size: int, side: int, channels: int, mode: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (size, size, channels), np.uint8)
    content = thumbnail(pixels)
    assert content == thumbnail(pixels.copy())
    with Image.open(io.BytesIO(content)) as picture:
        assert (picture.format, picture.mode, picture.size) == ("WEBP", mode, (side, side))


def test_a_folder_made_anew_keeps_nothing(tmp_path: Path) -> None:
    folder = emptied(tmp_path / "pictures")
    assert write_thumbnail(folder / "1.webp", np.zeros((8, 8, 3), np.uint8)) == "1.webp"
    assert list(emptied(folder).iterdir()) == []
