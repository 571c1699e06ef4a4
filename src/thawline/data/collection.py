"""What every data set looks like before anything is decoded: named, labelled pictures that can be opened."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Self

from PIL import Image

from thawline.data.losses import Losses
from thawline.data.problems import Problem, Severity

_WHOLE = re.compile(r"^(-?[0-9]+)\.0+$")


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
    read. `rest_is_test`: what `train_per_class` leaves over is tested on instead of left out. `losses`: of
    classes with pictures that are none of the items, or with none. `problems`: what is wrong with it.
    """

    items: tuple[Item, ...]
    open: Callable[[int], Image.Image]
    dropped: tuple[Dropped, ...] = ()
    notes: tuple[str, ...] = ()
    rest_is_test: bool = False
    losses: Losses = field(default_factory=Losses)
    problems: tuple[Problem, ...] = ()

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


def find_alike(names: Iterable[str], kind: str = "class", kinds: str = "classes") -> list[Problem]:
    """Return as errors the names, those of classes for instance, that differ only in case, in spaces or as
    spreadsheets and data frames write a whole number: `1` and `1.0`."""
    found: dict[str, list[str]] = defaultdict(list)
    for name in sorted(set(names)):
        found[_WHOLE.sub(r"\1", " ".join(name.split()).casefold())].append(name)
    return [
        Problem(
            Severity.error,
            f"{kind} {alike[0]}",
            f"many systems cannot tell it from: {', '.join(map(repr, alike[1:]))}",
            way_out=f"merge the {kinds}, or rename all but one.",
        )
        for alike in found.values()
        if len(alike) > 1
    ]
