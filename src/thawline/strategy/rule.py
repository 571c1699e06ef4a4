"""The rule: unfreeze where all of a few numbers, known before anything is trained, are high enough."""

from collections.abc import Callable
from dataclasses import dataclass

PROBE = "probe"


@dataclass(frozen=True)
class Facts:
    """What is known of training pictures before anything is fine-tuned.

    Args:
        pictures: how many there are.
        classes: of how many classes.
        last: share that heads solved on the last cut get right of pictures left out, 0..1.
        best: the same, on the cuts that a linear probe reads.
        peak: the single cut whose heads lose least, as a share of all units; 1 is the last.
    """

    pictures: int
    classes: int
    last: float
    best: float
    peak: float


NUMBERS: dict[str, Callable[[Facts], float]] = {
    "error": lambda facts: 1 - facts.best,
    "each": lambda facts: facts.pictures / facts.classes,
    "pictures": lambda facts: facts.pictures,
    "early": lambda facts: 1 - facts.peak,
}
"""What a condition may ask for, each the higher the more there is to say for unfreezing: the share of
pictures that heads get wrong out of fold, pictures of a class, pictures in all, how early the best single cut
lies."""


@dataclass(frozen=True)
class Condition:
    """`number`, one of `NUMBERS`, is at least `least`."""

    number: str
    least: float

    def holds(self, facts: Facts) -> bool:
        """Tell whether it does."""
        return NUMBERS[self.number](facts) >= self.least


@dataclass(frozen=True)
class Side:
    """The strategy on one side of a rule, and its gain over the linear probe there: mean and ends of a 95 %
    interval (None: one data set and source alone) in shares of test pictures, over so many measured
    `subsets`."""

    strategy: str
    gain: float
    low: float | None
    high: float | None
    subsets: int


@dataclass(frozen=True)
class Rule:
    """`unfreeze` where all `conditions` hold, else `freeze`; without conditions, always `freeze`.

    `each` and `classes` are the ends of what was measured, of pictures of a class and of classes.
    """

    conditions: tuple[Condition, ...]
    freeze: Side
    unfreeze: Side
    each: tuple[int, int]
    classes: tuple[int, int]


@dataclass(frozen=True)
class Prior:
    """The recipe that did best on average over all that was measured: LP-FT with this share of the units
    frozen (0 <= `depth` < 1), this rate of the body and the source's statistics of BatchNorm."""

    depth: float
    body_lr: float


@dataclass(frozen=True)
class Advice:
    """The `side` of the rule that `facts` are on, the `other` one, and what would have to change for that:
    of the conditions, those that do not hold, or where all hold, all."""

    facts: Facts
    side: Side
    other: Side | None
    decisive: tuple[Condition, ...]
    beyond: bool
    """True where pictures of a class, or classes, are more or fewer than were measured."""


def advise(facts: Facts, rule: Rule) -> Advice:
    """Return what `rule` says of pictures with these `facts`."""
    failing = tuple(each for each in rule.conditions if not each.holds(facts))
    unfrozen = bool(rule.conditions) and not failing
    sides = (rule.unfreeze, rule.freeze) if unfrozen else (rule.freeze, rule.unfreeze)
    each = NUMBERS["each"](facts)
    inside = rule.each[0] <= each <= rule.each[1] and rule.classes[0] <= facts.classes <= rule.classes[1]
    return Advice(
        facts, sides[0], sides[1] if rule.conditions else None, failing or rule.conditions, not inside
    )
