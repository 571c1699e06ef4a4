"""From pixels to network input: the same code for training, evaluation and serving."""

from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
from PIL import Image

from thawline.config.errors import FieldError
from thawline.config.sections import Fit, Input

Range = tuple[float, float]
"""The values that are shown as black and white."""

_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
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
    of the range 0..1; they are applied to whole batches, not here. `range` says which values are black and
    white in pictures of more than 8 bits; None where none were trained on: 0 and 65535, of floats 0 and 1.
    """

    size: int
    resize: int
    channels: int
    fit: str
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    range: Range | None = None

    def __post_init__(self) -> None:
        if self.interpolation not in _FILTERS:
            raise FieldError("interpolation", self.interpolation, ", ".join(_FILTERS))
        if self.fit not in Fit.__members__:
            raise FieldError("fit", self.fit, ", ".join(Fit.__members__))

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of a picture as a network is shown it."""
        return self.channels, self.size, self.size

    def squared(self, pixels: Image.Image) -> np.ndarray:
        """Resize and cut a whole picture to `(size, size, channels)` uint8. Raises `UnusablePictureError` for
        slivers."""
        square = _centre(_fitted(pixels, self.fit, self.resize, _FILTERS[self.interpolation]), self.size)
        return np.asarray(square, np.uint8).reshape(self.size, self.size, self.channels)

    def to_dict(self) -> dict[str, Any]:
        """Return it JSON-like, without a range where there is none; `from_dict` undoes it."""
        value: dict[str, Any] = {**asdict(self), "mean": list(self.mean), "std": list(self.std)}
        if self.range is None:
            return {name: each for name, each in value.items() if name != "range"}
        return {**value, "range": list(self.range)}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        tuples = {name: tuple(each) for name, each in value.items() if isinstance(each, (list, tuple))}
        return cls(**{**value, **tuples})

    def same_input(self, other: "Transform") -> bool:
        """Return whether both show pictures of 8 bits in the same way."""
        return replace(self, range=None) == replace(other, range=None)


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
    """Return a picture of 8 bits in gray (`channels` 1) or RGB (3), whatever mode it has."""
    if picture.has_transparency_data or picture.mode in ("PA", "La", "RGBa"):
        picture = _on_white(picture)
    # Not all modes convert to gray directly (CMYK, HSV, palettes): RGB is the step in between.
    gray = picture.mode in ("1", "L")
    return picture.convert("L" if channels == 1 else "RGB") if gray else _from_colour(picture, channels)


def _from_colour(picture: Image.Image, channels: int) -> Image.Image:
    colour = picture.convert("RGB")
    return colour.convert("L") if channels == 1 else colour


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
