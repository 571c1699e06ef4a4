"""What every data set looks like before anything is decoded: named, labelled pictures that can be opened."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Self

from PIL import Image

from thawline.config.errors import UserError

SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
"""What people call a split, in lower case, and what it is called here."""


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

    def without_test(self) -> Self:
        """Return the collection less its test pictures, with a note that says how many there were."""
        kept = [position for position, item in enumerate(self.items) if item.split != "test"]
        if len(kept) == len(self.items):
            return self
        note = f"{len(self.items) - len(kept)} test pictures are not used: a source is not tested"
        return replace(
            self,
            items=tuple(self.items[position] for position in kept),
            open=lambda position: self.open(kept[position]),
            notes=(*self.notes, note),
        )


def require_distinct(labels: Iterable[str], where: object) -> None:
    """Raise `UserError` if two class names found at `where` differ only in case or in spaces."""
    same: dict[str, str] = {}
    for label in sorted(labels):
        other = same.setdefault(" ".join(label.split()).casefold(), label)
        if other != label:
            raise UserError(
                f"{where} has the classes {other!r} and {label!r}, which many systems cannot tell apart.\n"
                "  Merge the two, or rename one."
            )
