"""Which values are black and white in pictures of more than 8 bits.

Nothing in such a file says so reliably: 10 or 12 bits come in files of 16. The pictures that are learned from
decide, all together (`range_of`): were each shown by itself, bright ones would look like dark ones.
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from thawline.config.errors import UserError
from thawline.data.samples import Samples
from thawline.data.tiff import UnusablePictureError

Range = tuple[float, float]
"""The values that are shown as black and white."""

BITS = (8, 10, 12, 14, 16)
"""What cameras, scanners and detectors count in; white is the highest number of so many bits."""
_INTEGERS: Range = (0, 2**16 - 1)
_FLOATS: Range = (0, 1)
_LITTLE = 16
"""Pictures that use no more than this part of the range, one in so many, are shown nearly black."""
_FEW = 0.1
_SHOWN = 3


class UndefinedLevelsError(UnusablePictureError):
    """Values without a black and white of their own; `limits` are the lowest and the highest."""

    def __init__(self, samples: Samples) -> None:
        self.limits = samples.limits
        kind = "integers" if samples.integers else "floats"
        super().__init__(f"{kind} from {_words(self.limits)} have no defined black and white")


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
    black, white = _INTEGERS if samples.integers else _FLOATS
    if low < black or high > white:
        raise UndefinedLevelsError(samples)
    return black, white


def range_of(pictures: pd.DataFrame, setting: str) -> Range | None:
    """Return what is black and white in pictures with the columns path, low, high and integers: 0, and the
    highest number of the fewest usual bits (`BITS`) that hold them. None where all have 8 bits (low and high
    are NaN).

    Raises `UserError`, which names `setting`, where some hold floats and others integers.
    """
    deep = pictures[pictures["high"].notna()]
    if deep.empty:
        return None
    integers = deep["integers"].to_numpy(bool)
    if not integers.any():
        return _FLOATS
    if not integers.all():
        one, other = deep["path"][integers].iloc[0], deep["path"][~integers].iloc[0]
        raise UserError(
            f"some pictures hold integers ({one}), others floats ({other}): black and white differ.\n"
            f"  Convert one kind, or say which values are black and white: -S '{setting}=[0,1]'"
        )
    return 0, _white(float(deep["high"].max()))


def _white(highest: float) -> int:
    return next(2**bits - 1 for bits in BITS if highest < 2**bits)


def described(pictures: pd.DataFrame, names: np.ndarray, shown: Range | None, setting: str) -> list[str]:
    """Return what a person should know about black and white, a sentence each; nothing where all have 8 bits.

    pictures: as `range_of` has them. names: the split of each, empty for one that is left out.
    """
    deep = (pictures["high"].notna() & (names != "")).to_numpy()
    train = pictures["high"][deep & (names == "train")]
    if shown is None or train.empty:
        return _odd(pictures[deep], shown)
    black, white = map(_number, shown)
    said = (
        f"pictures of more than 8 bits: {black} is black and {white} is white; "
        f"{len(train)} of them are trained on, and their values end at {_number(train.max())}"
    )
    return [said, *_outliers(train, shown, setting), *_odd(pictures[deep], shown)]


def _outliers(highest: pd.Series, shown: Range, setting: str) -> list[str]:
    """Say where a few training pictures alone make the range as wide as it is."""
    usual = [2**bits - 1 for bits in BITS]
    if shown[0] != 0 or shown[1] not in usual[1:] or highest.empty:
        return []
    below = _white(float(highest.quantile(1 - _FEW, interpolation="lower")))
    if below >= shown[1]:
        return []
    count = int((highest > below).sum())
    return [
        f"only {count} of these {len(highest)} go above {below}: if that is a fault of theirs, "
        f"-S '{setting}=[0,{below}]' shows all others brighter"
    ]


def _odd(deep: pd.DataFrame, shown: Range | None) -> list[str]:
    kinds = {True: _INTEGERS, False: _FLOATS}
    said = [
        remark((low, high), shown or kinds[bool(integers)])
        for low, high, integers in zip(deep["low"], deep["high"], deep["integers"], strict=True)
    ]
    found = deep.assign(remark=np.array(said, object)).dropna(subset="remark")
    return [
        f"{len(rows)} of {len(deep)} pictures of more than 8 bits: {text} ({', '.join(rows['path'][:_SHOWN])}"
        f"{', …' if len(rows) > _SHOWN else ''})"
        for text, rows in found.groupby("remark", sort=True)
    ]


def remark(limits: Range, shown: Range) -> str | None:
    """Return what is odd about a picture with such values where `shown` are black and white, or None."""
    (low, high), (black, white) = limits, shown
    if low < black or high > white:
        return f"values outside {_words(shown)}, black and white, are cut off"
    if high - low <= (white - black) / _LITTLE:
        return f"values fill little of {_words(shown)}, black and white"
    return None


def refuse(undefined: Sequence[tuple[str, Range]], count: int, setting: str) -> None:
    """Raise `UserError` where more than a few of `count` pictures have values without black and white.

    undefined: the path and the limits of each of these.
    """
    if len(undefined) <= _FEW * count:
        return
    low, high = min(low for _, (low, _) in undefined), max(high for _, (_, high) in undefined)
    if low >= 0:
        low, high = 0, _white(high) if high < 2 ** BITS[-1] else high
    raise UserError(
        f"{len(undefined)} of {count} pictures have values without a defined black and white, "
        f"such as {', '.join(f'{path} ({_words(limits)})' for path, limits in undefined[:_SHOWN])}.\n"
        f"  Say which values are black and white: -S '{setting}=[{_number(low)},{_number(high)}]' shows all, "
        "a narrower window shows more of what lies in it."
    )


def _words(limits: Range) -> str:
    return f"{_number(limits[0])} to {_number(limits[1])}"


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else f"{value:.6g}"
