"""The range of a data set's pictures of more than 8 bits: found in those that are learned from, and said.

Nothing in such a file says reliably which values are black and white: 10 or 12 bits come in files of 16. The
training pictures decide, all together: were each shown by itself, bright ones would look like dark ones.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from thawline.config.errors import UserError
from thawline.data.collection import Item
from thawline.data.levels import FLOATS, INTEGERS, number, remark, words
from thawline.data.problems import Problem, Severity, listed
from thawline.data.transform import Range

BITS = (8, 10, 12, 14, 16)
"""What cameras, scanners and detectors count in; white is the highest number of so many bits."""
_FEW = 0.1
_DEEP = "pictures of more than 8 bits"


def range_of(pictures: pd.DataFrame) -> Range | None:
    """Return what is black and white in pictures with the columns path, low, high and integers: 0, and the
    highest number of the fewest usual bits (`BITS`) that hold them. None where all have 8 bits (low and high
    are NaN), and where some hold floats and others integers, which `described` says.
    """
    deep = pictures[pictures["high"].notna()]
    if deep.empty or deep["integers"].nunique() > 1:
        return None
    return (0, _white(float(deep["high"].max()))) if deep["integers"].all() else FLOATS


def _white(highest: float) -> int:
    return next(2**bits - 1 for bits in BITS if highest < 2**bits)


def described(
    pictures: pd.DataFrame, names: np.ndarray, shown: Range | None, setting: str
) -> Iterator[Problem]:
    """Yield what a person should know about black and white; nothing where all pictures have 8 bits.

    pictures: as `range_of` has them. names: the split of each, empty for one that is left out. shown: what
    was set or found; none being found for floats beside integers is an error.
    """
    deep = pictures[(pictures["high"].notna() & (names != "")).to_numpy()]
    train = pictures[(pictures["high"].notna() & (names == "train")).to_numpy()]
    if shown is None and train["integers"].nunique() > 1:
        yield _mixed(train)
        return
    if shown is not None and deep.empty:
        what = "is set, but all pictures have 8 bits: it changes none of them"
        yield Problem(Severity.warning, setting, what)
    if shown is not None and len(train):
        black, white = map(number, shown)
        what = (
            f"{black} is black and {white} is white; {len(train)} of them are trained on, and their values "
            f"end at {number(train['high'].max())}"
        )
        yield Problem(Severity.note, _DEEP, what, len(train))
        yield from _outliers(train["high"], shown, setting)
    if not deep.empty:
        yield from _odd(deep, shown)


def _mixed(deep: pd.DataFrame) -> Problem:
    integers = deep["integers"].to_numpy(bool)
    one, other = deep["path"][integers].iloc[0], deep["path"][~integers].iloc[0]
    what = f"some hold integers ({one}), others floats ({other}): black and white differ"
    return Problem(Severity.error, _DEEP, what, len(deep), "convert those of one kind.")


def _outliers(highest: pd.Series, shown: Range, setting: str) -> Iterator[Problem]:
    """Say where a few training pictures alone make the range as wide as it is."""
    usual = [2**bits - 1 for bits in BITS]
    if shown[0] != 0 or shown[1] not in usual[1:]:
        return
    below = _white(float(highest.quantile(1 - _FEW, interpolation="lower")))
    count = int((highest > below).sum())
    if below < shown[1] and count:
        what = (
            f"only {count} of the {len(highest)} that are trained on go above {below}: if that is a fault of "
            f"theirs, -S '{setting}=[0,{below}]' shows all others brighter"
        )
        yield Problem(Severity.warning, _DEEP, what, count)


def _odd(deep: pd.DataFrame, shown: Range | None) -> Iterator[Problem]:
    kinds = {True: INTEGERS, False: FLOATS}
    said = [
        remark((low, high), shown or kinds[bool(integers)])
        for low, high, integers in zip(deep["low"], deep["high"], deep["integers"], strict=True)
    ]
    found = deep.assign(remark=np.array(said, object)).dropna(subset="remark")
    for text, rows in found.groupby("remark", sort=True):
        where = f"{len(rows)} of {len(deep)} {_DEEP}"
        yield Problem(Severity.warning, where, f"{text} ({listed(rows['path'].tolist())})", len(rows))


def refuse(undefined: Sequence[tuple[Item, Range]], count: int, setting: str) -> None:
    """Raise `UserError` where more than a few of `count` pictures have values without black and white.

    undefined: each of these, and its limits. What is proposed does not come from pictures that are known
    to be test pictures; without others, or where all their values are equal, nothing is.
    """
    if len(undefined) <= _FEW * count:
        return
    examples = listed([f"{item.path} ({words(limits)})" for item, limits in undefined])
    window = _window([limits for item, limits in undefined if item.split != "test"])
    shows = " shows all, a narrower window shows more of what lies in it" if window else ""
    raise UserError(
        f"{len(undefined)} of {count} pictures have values without a defined black and white: "
        f"{examples}.\n"
        f"  Say which values are black and white: -S '{setting}=[{window or 'BLACK,WHITE'}]'{shows}."
    )


def _window(limits: Sequence[Range]) -> str:
    """Return the lowest and highest of all values as a setting has them; empty where they are no range."""
    if not limits:
        return ""
    lows, highs = zip(*limits, strict=True)
    low, high = min(lows), max(highs)
    if low >= 0:
        low, high = 0, _white(high) if high < 2 ** BITS[-1] else high
    return f"{number(low)},{number(high)}" if number(low) != number(high) else ""
