"""What was lost of each class on the way from its folder to the pictures that are used."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self


@dataclass(frozen=True)
class Losses:
    """The reasons for which pictures of a class were left out, with their numbers. A class without reasons
    has a name, and no pictures."""

    of_class: dict[str, Counter[str]] = field(default_factory=dict)

    def plus(self, lost: Iterable[tuple[str, str]]) -> Self:
        """Return the losses after these, too: a class and a reason for each picture."""
        reasons = {label: Counter(counts) for label, counts in self.of_class.items()}
        for label, reason in lost:
            reasons.setdefault(label, Counter())[reason] += 1
        return type(self)(reasons)

    def count(self, label: str) -> int:
        return self.of_class.get(label, Counter()).total()

    def said(self, label: str) -> str:
        """Return e.g. `cannot be read (8), not in its split (2)`."""
        return ", ".join(f"{reason} ({count})" for reason, count in self.of_class[label].most_common())
