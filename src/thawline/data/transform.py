"""From a picture to network input: the same code for training, evaluation and serving."""

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from PIL import Image

from thawline.config.errors import FieldError
from thawline.config.sections import Fit, Input

_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
_WHITE_16_BIT = 65535
_LONGEST = 64
"""Longer edge, in shorter edges, up to which a picture is resized: more would fill the memory."""


class UnusablePictureError(ValueError):
    """A picture that decodes but cannot be shown to a network; the message says why."""


@dataclass(frozen=True)
class Transform:
    """The way from a picture of any size and mode to `(size, size, channels)` uint8, and its normalisation.

    The picture is made to fit a square of side `resize`, of which the central `size` is kept:
    `crop` resizes the shorter edge and loses what sticks out, `squash` changes the aspect ratio,
    `pad` resizes the longer edge and fills up with black. `mean` and `std` are per channel, in units
    of the range 0..1; they are applied to whole batches, not here.
    """

    size: int
    resize: int
    channels: int
    fit: str
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.interpolation not in _FILTERS:
            raise FieldError("interpolation", self.interpolation, ", ".join(_FILTERS))
        if self.fit not in Fit.__members__:
            raise FieldError("fit", self.fit, ", ".join(Fit.__members__))

    def to_array(self, picture: Image.Image) -> np.ndarray:
        """Return the picture as the network sees it, `(size, size, channels)` uint8.

        Transparency is shown on white, 16-bit values are scaled.
        Raises `UnusablePictureError` for values without a defined black and white, and for slivers.
        """
        return self.squared(self.pixels(picture))

    def pixels(self, picture: Image.Image) -> Image.Image:
        """Return the whole picture in 8-bit gray or RGB; `Decoder` has made it upright."""
        return to_mode(picture, self.channels)

    def squared(self, pixels: Image.Image) -> np.ndarray:
        """Resize and cut what `pixels` returned to `(size, size, channels)` uint8."""
        square = _centre(_fitted(pixels, self.fit, self.resize, _FILTERS[self.interpolation]), self.size)
        return np.asarray(square, np.uint8).reshape(self.size, self.size, self.channels)

    def to_dict(self) -> dict[str, Any]:
        """Return it JSON-like; `from_dict` undoes it."""
        return {**asdict(self), "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        return cls(**{**value, "mean": tuple(value["mean"]), "std": tuple(value["std"])})


def transform_of(input: Input) -> Transform:
    """Return the transform a configuration describes; null is resize = size, fit = crop, mean = 0.5,
    std = 0.25.

    Raises `FieldError` when `size` is null, which only source weights can fill in.
    """
    if input.size is None:
        raise FieldError("input.size", None, "a side in pixels (only source weights bring their own)")
    return Transform(
        size=input.size,
        resize=input.resize or input.size,
        channels=input.channels,
        fit=(input.fit or Fit.crop).name,
        interpolation="bilinear",
        mean=tuple(input.mean or [0.5] * input.channels),
        std=tuple(input.std or [0.25] * input.channels),
    )


def to_mode(picture: Image.Image, channels: int) -> Image.Image:
    """Return the picture in 8-bit gray (`channels` 1) or RGB (3), whatever mode it has.

    Raises `UnusablePictureError` for integers above 16 bits and floats outside 0..1.
    """
    if picture.mode == "I" or picture.mode.startswith("I;16"):
        picture = _from_integers(picture)
    elif picture.mode == "F":
        picture = _from_floats(picture)
    elif picture.has_transparency_data or picture.mode in ("PA", "La", "RGBa"):
        picture = _on_white(picture)
    # Not all modes convert to gray directly (CMYK, HSV, palettes): RGB is the step in between.
    gray = picture.mode in ("1", "L")
    return picture.convert("L" if channels == 1 else "RGB") if gray else _from_colour(picture, channels)


def _from_colour(picture: Image.Image, channels: int) -> Image.Image:
    colour = picture.convert("RGB")
    return colour.convert("L") if channels == 1 else colour


def _from_integers(picture: Image.Image) -> Image.Image:
    # convert("L") would clip everything above 255 to white without a word.
    values = np.asarray(picture).astype(np.int64)
    if values.size and (values.min() < 0 or values.max() > _WHITE_16_BIT):
        raise UnusablePictureError(
            f"32-bit pixels from {values.min()} to {values.max()} have no defined white"
        )
    return Image.fromarray(((values * 255 + _WHITE_16_BIT // 2) // _WHITE_16_BIT).astype(np.uint8))


def _from_floats(picture: Image.Image) -> Image.Image:
    values = np.asarray(picture)
    if not (values.min() >= 0 and values.max() <= 1):
        raise UnusablePictureError(f"float pixels from {values.min():g} to {values.max():g} are not in 0..1")
    return Image.fromarray(np.rint(values * 255).astype(np.uint8))


def _on_white(picture: Image.Image) -> Image.Image:
    # Dropping the alpha channel instead would show whatever colour lies under it.
    if picture.mode in ("La", "RGBa"):
        picture = picture.convert({"La": "LA", "RGBa": "RGBA"}[picture.mode])
    opaque = Image.new("RGBA", picture.size, "white")
    opaque.alpha_composite(picture.convert("RGBA"))
    return opaque


def _fitted(picture: Image.Image, fit: str, side: int, resampling: Image.Resampling) -> Image.Image:
    width, height = picture.size
    if max(width, height) > _LONGEST * min(width, height):
        raise UnusablePictureError(f"{width} x {height} pixels are too narrow to be made square")
    if fit == Fit.squash.name:
        return picture.resize((side, side), resampling)
    edge = min(width, height) if fit == Fit.crop.name else max(width, height)
    # The other edge is truncated, not rounded, as torchvision's presets do it.
    picture = picture.resize((max(side * width // edge, 1), max(side * height // edge, 1)), resampling)
    return _centre(picture, side) if fit == Fit.pad.name else picture


def _centre(picture: Image.Image, side: int) -> Image.Image:
    left, top = (round((edge - side) / 2) for edge in picture.size)
    # Outside the picture, crop fills with zeros: black.
    return picture.crop((left, top, left + side, top + side))
