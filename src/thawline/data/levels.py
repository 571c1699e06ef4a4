"""Which values are black and white in a picture of more than 8 bits; `ranges` finds them for a data set."""

import math

from thawline.data.samples import Samples
from thawline.data.transform import Range, UnusablePictureError

INTEGERS: Range = (0, 2**16 - 1)
FLOATS: Range = (0, 1)
"""Where nothing else is known."""
_LITTLE = 16
"""A picture that uses no more than this part of the range, one in so many, is shown nearly black."""


class UndefinedLevelsError(UnusablePictureError):
    """Values without a black and white of their own; `limits` are the lowest and the highest."""

    def __init__(self, samples: Samples) -> None:
        self.limits = samples.limits
        kind = "integers" if samples.integers else "floats"
        super().__init__(f"{kind} from {words(self.limits)} have no defined black and white")


def black_and_white(samples: Samples, given: Range | None) -> Range:
    """Return the values that are black and white in a picture: `given`, or the full scale of 16 bits or of
    floats.

    Raises `UndefinedLevelsError` for values outside these where none are given, `UnusablePictureError` for
    values that are no numbers.
    """
    low, high = samples.limits
    if not (math.isfinite(low) and math.isfinite(high)):
        raise UnusablePictureError("some of its floats are no numbers")
    if given is not None:
        return given
    black, white = INTEGERS if samples.integers else FLOATS
    if low < black or high > white:
        raise UndefinedLevelsError(samples)
    return black, white


def remark(limits: Range, shown: Range) -> str | None:
    """Return what is odd about a picture with such values where `shown` are black and white, or None."""
    (low, high), (black, white) = limits, shown
    if low < black or high > white:
        return f"values outside {words(shown)}, black and white, are cut off"
    if high - low <= (white - black) / _LITTLE:
        return f"values fill little of {words(shown)}, black and white"
    return None


def words(limits: Range) -> str:
    """Return `-1000 to 1000`."""
    return f"{number(limits[0])} to {number(limits[1])}"


def number(value: float) -> str:
    """Return a number as a setting and a sentence have it."""
    return str(int(value)) if float(value).is_integer() else f"{value:.6g}"
