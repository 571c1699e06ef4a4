"""The range of a data set's pictures of more than 8 bits: found in those that are learned from, and said.

Nothing in such a file says reliably which values are black and white: 10 or 12 bits come in files of 16. The
training pictures decide, all together: were each shown by itself, bright ones would look like dark ones.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from thawline.config.errors import UserError
from thawline.data.collection import Item
from thawline.data.levels import FLOATS, INTEGERS, Range, number, remark, words

BITS = (8, 10, 12, 14, 16)
"""What cameras, scanners and detectors count in; white is the highest number of so many bits."""
_FEW = 0.1
_SHOWN = 3


def range_of(pictures: pd.DataFrame) -> Range | None:
    """Return what is black and white in pictures with the columns path, low, high and integers: 0, and the
    highest number of the fewest usual bits (`BITS`) that hold them. None where all have 8 bits (low and high
    are NaN).

    Raises `UserError` where some hold floats and others integers.
    """
    deep = pictures[pictures["high"].notna()]
    if deep.empty:
        return None
    integers = deep["integers"].to_numpy(bool)
    if not integers.any():
        return FLOATS
    if not integers.all():
        one, other = deep["path"][integers].iloc[0], deep["path"][~integers].iloc[0]
        raise UserError(
            f"some pictures hold integers ({one}), others floats from 0 to 1 ({other}): "
            "black and white differ.\n  Convert those of one kind."
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
    if shown is not None and not deep.any():
        return [f"{setting} is set, but all pictures have 8 bits: it changes none of them"]
    if shown is None or train.empty:
        return _odd(pictures[deep], shown)
    black, white = map(number, shown)
    said = (
        f"pictures of more than 8 bits: {black} is black and {white} is white; "
        f"{len(train)} of them are trained on, and their values end at {number(train.max())}"
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
    if count == 0:
        return []
    return [
        f"only {count} of these {len(highest)} go above {below}: if that is a fault of theirs, "
        f"-S '{setting}=[0,{below}]' shows all others brighter"
    ]


def _odd(deep: pd.DataFrame, shown: Range | None) -> list[str]:
    kinds = {True: INTEGERS, False: FLOATS}
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


def refuse(undefined: Sequence[tuple[Item, Range]], count: int, setting: str) -> None:
    """Raise `UserError` where more than a few of `count` pictures have values without black and white.

    undefined: each of these, and its limits. What is proposed does not come from pictures that are known
    to be test pictures.
    """
    if len(undefined) <= _FEW * count:
        return
    known = [limits for item, limits in undefined if item.split != "test"]
    lows, highs = zip(*(known or [limits for _, limits in undefined]), strict=True)
    low, high = min(lows), max(highs)
    if low >= 0:
        low, high = 0, _white(high) if high < 2 ** BITS[-1] else high
    raise UserError(
        f"{len(undefined)} of {count} pictures have values without a defined black and white, "
        f"such as {', '.join(f'{item.path} ({words(limits)})' for item, limits in undefined[:_SHOWN])}.\n"
        f"  Say which values are black and white: -S '{setting}=[{number(low)},{number(high)}]' shows all, "
        "a narrower window shows more of what lies in it."
    )
