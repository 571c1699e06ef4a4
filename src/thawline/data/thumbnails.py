"""Small pictures for people to look at: what a network is shown, as WebP."""

import io
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from thawline.artifacts import atomic_path

SIDE = 112
"""Pixels of a thumbnail's side; smaller pictures stay as they are."""


def thumbnail(pixels: np.ndarray) -> bytes:
    """Return `pixels`, `(size, size, channels)` uint8, as WebP of at most `SIDE` pixels a side.

    There are 1, 3 or, with an opacity, 4 channels. Equal pixels give equal bytes."""
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    content = io.BytesIO()
    picture.save(content, "WEBP", quality=65, method=6)
    return content.getvalue()


def write_thumbnail(path: Path, pixels: np.ndarray) -> str:
    """Write `thumbnail(pixels)`; return the file's name."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(thumbnail(pixels))
    return path.name


def emptied(folder: Path) -> Path:
    """Return the folder, made anew: what an earlier call left shows other pictures."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
