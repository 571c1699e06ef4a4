"""Values in files of more than 8 bits, and in signed ones; of colours, Pillow keeps the upper byte only."""

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from thawline.data import tiff
from thawline.data.orientation import set_upright

Load = Callable[[Image.Image, bool], None]
"""Decodes a picture in place and turns it upright; where the second argument is true its bytes are parts of
larger values, and may not be averaged if it is made smaller."""

_BLOCK = 2**20
"""Values that are made floats at once: pictures may have hundreds of millions."""
_TWO_BYTES = re.compile("(LA|RGB|RGBX|RGBA);16([BLN])")
_OTHER_BYTE = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}


@dataclass(frozen=True, eq=False)
class Samples:
    """The values of a picture, `(h, w)` or `(h, w, 3)`, integers or floats. `alpha` is `(h, w)` uint8 or
    None. With `white_is_zero` the lowest value is the brightest."""

    values: np.ndarray
    alpha: np.ndarray | None = None
    white_is_zero: bool = False

    @property
    def integers(self) -> bool:
        return self.values.dtype.kind in "iu"

    @cached_property
    def limits(self) -> tuple[float, float]:
        """The lowest and highest value that can be seen; NaN where one is."""
        seen = self.values if self.alpha is None else self.values[self.alpha > 0]
        return (float(seen.min()), float(seen.max())) if seen.size else (0.0, 0.0)

    def shown(self, low: float, high: float) -> Image.Image:
        """Return the picture in 8 bits, `low` being black and `high` white; what lies outside is clipped."""
        scale = 255 / (high - low) if high > low else 0.0
        levels = np.empty(self.values.shape, np.uint8)
        rows = max(_BLOCK // max(self.values[:1].size, 1), 1)
        for start in range(0, len(levels), rows):
            block = self.values[start : start + rows].astype(np.float64)
            levels[start : start + rows] = np.rint(np.clip((block - low) * scale, 0, 255))
        picture = Image.fromarray(255 - levels if self.white_is_zero else levels)
        if self.alpha is not None:
            picture.putalpha(Image.fromarray(self.alpha))
        return picture


def decode(picture: Image.Image, load: Load) -> Samples | None:
    """Decode a picture in place, and return its values where they do not all lie in 0..255, else None.

    load: decodes one in place and turns it upright. Raises `UnusablePictureError` for a TIFF that Pillow
    would misread.
    """
    if isinstance(picture, TiffImageFile):
        tiff.put_right(picture)
    kind = _TWO_BYTES.fullmatch(_raw_mode(picture))
    if kind is not None and isinstance(picture, ImageFile):
        return _colours(picture, kind[1], kind[2], load)
    key = picture.info.pop("transparency", None) if is_deep(picture) else None
    load(picture, False)
    if picture.mode not in ("I", "F") and not picture.mode.startswith("I;16"):
        signed = isinstance(picture, TiffImageFile) and tiff.is_signed(picture)
        return Samples(np.asarray(picture).view(np.int8)) if signed else None
    values = np.asarray(picture)
    alpha = None if key is None else _opaque(values != key)
    if isinstance(picture, TiffImageFile):
        values = values.view(np.uint32) if tiff.is_unsigned(picture) else values
        return Samples(values, alpha, tiff.white_is_zero(picture))
    return Samples(values, alpha)


def load(picture: Image.Image, parts: bool) -> None:  # noqa: ARG001
    """Decode a picture in place, as large as it is, and turn it upright."""
    picture.load()
    set_upright(picture)


def is_deep(picture: Image.Image) -> bool:
    """Return whether a picture that is not decoded yet may have values that do not all lie in 0..255."""
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        return True
    return _TWO_BYTES.fullmatch(_raw_mode(picture)) is not None


def _colours(picture: ImageFile, kind: str, order: str, load: Load) -> Samples:
    """Put values together of their upper bytes, which are all that Pillow keeps, and their lower ones."""
    key = picture.info.pop("transparency", None)
    if kind == "LA":
        _read_as(picture, "RGBA")
        load(picture, True)
        pairs = np.asarray(picture).astype(np.uint16)  # both bytes of the gray value, then of alpha
        return Samples(pairs[..., 0] << 8 | pairs[..., 1], pairs[..., 2].astype(np.uint8))
    assert picture.fp is not None
    place = picture.fp.tell()
    picture.fp.seek(0)
    other = type(picture)(picture.fp)  # of the same file, which may be too large to be copied
    other.info.pop("transparency", None)
    _read_as(other, f"{kind};16{_OTHER_BYTE[order]}")
    load(other, True)
    picture.fp.seek(place)
    load(picture, True)
    upper, lower = np.asarray(picture), np.asarray(other)
    values = upper[..., :3].astype(np.uint16)
    values <<= 8
    values |= lower[..., :3]
    if kind == "RGBA":
        return Samples(values, upper[..., 3])
    return Samples(values, None if key is None else _opaque((values != key).any(axis=2)))


def _opaque(seen: np.ndarray) -> np.ndarray:
    return np.where(seen, 255, 0).astype(np.uint8)


def _raw_mode(picture: Image.Image) -> str:
    """Return how samples lie in the file, in Pillow's words; empty for a picture that was decoded."""
    tiles = getattr(picture, "tile", [])
    if not tiles:
        return ""
    args = tiles[0].args
    return str(args[0] if isinstance(args, tuple) else args)


def _read_as(picture: ImageFile, raw: str) -> None:
    picture.tile = [
        tile._replace(args=(raw, *tile.args[1:]) if isinstance(tile.args, tuple) else raw)
        for tile in picture.tile
    ]
