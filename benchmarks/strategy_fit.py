"""The rule that the measurements of strategies.py support, and what following it costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
from scipy.stats import t

from thawline.strategy.rule import NUMBERS, PROBE, Condition, Facts, Rule, Side, advise

ORDER = (PROBE, "bias", "mostly_frozen", "half_frozen", "lp_ft", "full")
"""Strategies that may be advised, the more of the network learns the later."""
MARGIN = 0.005
"""By how much another condition has to raise the mean accuracy, so that chance alone adds none."""


@dataclass(frozen=True, eq=False)
class Measured:
    """One subset: its data set and source, what was known before, and by strategy whether each test picture
    is right, (N,)."""

    data: str
    source: str
    facts: Facts
    right: Mapping[str, np.ndarray]

    @cached_property
    def accuracy(self) -> dict[str, float]:
        return {name: float(right.mean()) for name, right in self.right.items()}

    def gain(self, name: str) -> float:
        """Return the accuracy of a strategy minus the linear probe's."""
        return self.accuracy[name] - self.accuracy[PROBE]


def interval(values: Sequence[float], places: Sequence[tuple[str, str]]) -> tuple[float, float, float]:
    """Return the mean over pairs of data set and source, each counting alike, and the ends of a 95 % interval
    that takes these for what was drawn (Student's t); NaN ends where there is one of them."""
    by_place: dict[tuple[str, str], list[float]] = {}
    for value, place in zip(values, places, strict=True):
        by_place.setdefault(place, []).append(value)
    means = np.array([np.mean(each) for each in by_place.values()])
    if len(means) < 2:
        return float(means.mean()), float("nan"), float("nan")
    half = float(t.ppf(0.975, len(means) - 1) * means.std(ddof=1) / np.sqrt(len(means)))
    return float(means.mean()), float(means.mean()) - half, float(means.mean()) + half


def _mean(units: Sequence[Measured], name: str) -> float:
    return interval([unit.gain(name) for unit in units], [(unit.data, unit.source) for unit in units])[0]


def _sides(
    units: Sequence[Measured], conditions: tuple[Condition, ...]
) -> tuple[list[Measured], list[Measured]]:
    """Return the subsets for which not all conditions hold, and those for which all do."""
    held = [all(each.holds(unit.facts) for each in conditions) for unit in units]
    found = [
        [unit for unit, holds in zip(units, held, strict=True) if holds == side] for side in (False, True)
    ]
    return found[0], found[1]


def _split(units: Sequence[Measured], conditions: tuple[Condition, ...]) -> tuple[float, str, str] | None:
    """Return the mean gain of a rule with these conditions and its strategies, of which the second leaves no
    less to learn than the first; None where a side has less than a tenth of the subsets."""
    low, high = _sides(units, conditions)
    if min(len(low), len(high)) < max(2, len(units) // 10):
        return None
    pairs = ((one, two) for at, one in enumerate(ORDER) for two in ORDER[at:])

    def gain(pair: tuple[str, str]) -> float:
        values = [unit.gain(pair[0]) for unit in low] + [unit.gain(pair[1]) for unit in high]
        return interval(values, [(unit.data, unit.source) for unit in (*low, *high)])[0]

    best = max(pairs, key=gain)
    return gain(best), *best


def _thresholds(units: Sequence[Measured], number: str) -> list[float]:
    values = np.unique([NUMBERS[number](unit.facts) for unit in units])
    middles = (values[1:] + values[:-1]) / 2
    return [float(f"{each:.3g}") for each in middles[:: max(1, len(middles) // 12)]]


def fitted(units: Sequence[Measured]) -> Rule:
    """Return the rule with the highest mean gain over the linear probe, data sets counting alike; each of at
    most two conditions must be worth `MARGIN`."""
    single = [Condition(name, least) for name in NUMBERS for least in _thresholds(units, name)]
    pairs = [pair for pair in combinations(single, 2) if pair[0].number != pair[1].number]
    always = max(ORDER, key=lambda name: _mean(units, name))
    best, chosen = _mean(units, always), ((), always, always)
    for candidates in ([(each,) for each in single], pairs):
        found = [(split, each) for each in candidates if (split := _split(units, each)) is not None]
        if found:
            (gain, one, two), conditions = max(found, key=lambda each: each[0][0])
            if gain >= best + MARGIN and one != two:
                best, chosen = gain, (conditions, one, two)
    return _ruled(units, *chosen)


def _ruled(units: Sequence[Measured], conditions: tuple[Condition, ...], one: str, two: str) -> Rule:
    low, high = _sides(units, conditions) if conditions else (list(units), list(units))

    def side(name: str, of: Sequence[Measured]) -> Side:
        places = [(unit.data, unit.source) for unit in of]
        ends = interval([unit.gain(name) for unit in of], places)
        return Side(name, *(round(each, 3) for each in ends), len(of))

    each = [round(NUMBERS["each"](unit.facts)) for unit in units]
    classes = [unit.facts.classes for unit in units]
    spans = (min(each), max(each)), (min(classes), max(classes))
    return Rule(conditions, side(one, low), side(two, high), *spans)


def left_out(units: Sequence[Measured]) -> list[str]:
    """Return the strategy advised for each subset by the rule that is fitted without its data set."""
    rules = {
        data: fitted([unit for unit in units if unit.data != data]) for data in {unit.data for unit in units}
    }
    return [advise(unit.facts, rules[unit.data]).side.strategy for unit in units]


def regret(unit: Measured, chosen: str) -> float:
    """Return what a strategy loses against the best in hindsight: chosen on one half of the test pictures and
    measured on the other, both ways. It is below 0 where hindsight was misled by chance."""
    order = np.random.default_rng(0).permutation(len(unit.right[PROBE]))
    halves = [order[::2], order[1::2]]
    found = []
    for seen, asked in (halves, halves[::-1]):
        best = max(ORDER, key=lambda name: unit.right[name][seen].mean())
        found.append(unit.right[best][asked].mean() - unit.right[chosen][asked].mean())
    return float(np.mean(found))


def regrets(units: Sequence[Measured]) -> dict[str, list[float]]:
    """Return the regret of the advice, of each strategy always and of the last cut's head, by subset."""
    advised = left_out(units)
    found = {"the advice": [regret(unit, name) for unit, name in zip(units, advised, strict=True)]}
    return found | {f"always {name}": [regret(unit, name) for unit in units] for name in (*ORDER, "last_cut")}
