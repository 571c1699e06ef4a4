"""What every data set looks like before anything is decoded: named, labelled pictures that can be opened."""

from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image


@dataclass(frozen=True)
class Item:
    """One picture. `split` is where the data set itself puts it (`train`, `val`, `test`) or empty;
    pictures with the same non-empty `group` show the same thing and may not be separated."""

    path: str
    label: str
    split: str = ""
    group: str = ""


@dataclass(frozen=True)
class Dropped:
    """A picture that is left out: the kind of reason, and what is particular to this picture."""

    path: str
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class Collection:
    """A data set: its items and `open`, which returns the picture of the item at a position.

    `open` is called from several threads at once and may raise anything for a picture that cannot be
    read. `rest_is_test`: what `train_per_class` leaves over is tested on instead of left out.
    """

    items: tuple[Item, ...]
    open: Callable[[int], Image.Image]
    dropped: tuple[Dropped, ...] = ()
    notes: tuple[str, ...] = ()
    rest_is_test: bool = False
