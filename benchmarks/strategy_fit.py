"""The rule that the measurements of strategies.py support, and what following it costs."""

from collections import defaultdict
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
"""By how much a condition, or a strategy that is not solved, has to raise the mean accuracy, so that chance
adds none."""
LEAST = 4
"""Subsets on each side of a rule."""


@dataclass(frozen=True, eq=False)
class Measured:
    """One subset: its data set and source, what was known before, and by strategy whether each test picture
    is right, (N,)."""

    data: str
    source: str
    facts: Facts
    right: Mapping[str, np.ndarray]

    @property
    def place(self) -> tuple[str, str]:
        return self.data, self.source

    @cached_property
    def accuracy(self) -> dict[str, float]:
        return {name: float(right.mean()) for name, right in self.right.items()}

    def gain(self, name: str) -> float:
        """Return the accuracy of a strategy minus the linear probe's."""
        return self.accuracy[name] - self.accuracy[PROBE]


Pairs = Sequence[tuple[tuple[str, str], float]]
"""Gains, each with its data set and source."""


def mean_of(pairs: Pairs) -> tuple[float, float | None, float | None]:
    """Return the mean over pairs of data set and source, each counting alike, and the ends of a 95 % interval
    that takes these for what was drawn (Student's t); None where there is one of them."""
    by_place = defaultdict(list)
    for place, value in pairs:
        by_place[place].append(value)
    means = np.array([np.mean(each) for each in by_place.values()])
    mean = float(means.mean())
    if len(means) < 2:
        return mean, None, None
    half = float(t.ppf(0.975, len(means) - 1) * means.std(ddof=1) / np.sqrt(len(means)))
    return mean, mean - half, mean + half


def gains(units: Sequence[Measured], name: str) -> Pairs:
    """Return what a strategy gained on the linear probe on each subset."""
    return [(unit.place, unit.gain(name)) for unit in units]


def fitted(units: Sequence[Measured]) -> Rule:
    """Return the rule that is worth most: its mean gain over the linear probe, pairs of data set and source
    counting alike, less `MARGIN` for each of its at most two conditions and for each strategy but the
    probe. On its side where all conditions hold no less is learnt than on the other."""
    single = [Condition(name, least) for name in NUMBERS for least in _thresholds(units, name)]
    pairs = [pair for pair in combinations(single, 2) if pair[0].number != pair[1].number]
    places = [unit.place for unit in units]
    weights = np.array([1 / (places.count(place) * len(set(places))) for place in places])
    table = weights[:, None] * np.array([[unit.gain(name) for name in ORDER] for unit in units])
    dear = np.array([float(name != PROBE) for name in ORDER])
    best, chosen = -np.inf, ((), PROBE, PROBE)
    for conditions in ((), *((each,) for each in single), *pairs):
        held = np.array([all(each.holds(unit.facts) for each in conditions) for unit in units])
        if conditions and min(held.sum(), (~held).sum()) < LEAST:
            continue
        worth = table[~held].sum(0)[:, None] + table[held].sum(0)[None]
        # a strategy on both sides is paid for once, and without conditions there is one side
        worth = worth - MARGIN * (dear[:, None] + dear[None] - np.diag(dear) + len(conditions))
        worth[np.tril_indices(len(ORDER), -1)] = -np.inf
        if not conditions:
            worth[~np.eye(len(ORDER), dtype=bool)] = -np.inf
        one, two = np.unravel_index(worth.argmax(), worth.shape)
        if worth[one, two] > best:
            best, chosen = worth[one, two], (conditions, ORDER[one], ORDER[two])
    return _ruled(units, *chosen)


def _thresholds(units: Sequence[Measured], number: str) -> list[float]:
    """Return at most a dozen values between those of the subsets."""
    values = np.unique([NUMBERS[number](unit.facts) for unit in units])
    middles = (values[1:] + values[:-1]) / 2
    return [float(f"{each:.3g}") for each in middles[:: max(1, -(-len(middles) // 12))]]


def _ruled(units: Sequence[Measured], conditions: tuple[Condition, ...], one: str, two: str) -> Rule:
    def side(name: str, held: bool) -> Side:
        of = [u for u in units if all(each.holds(u.facts) for each in conditions) == held or not conditions]
        ends = (each if each is None else round(each, 3) for each in mean_of(gains(of, name)))
        return Side(name, *ends, len(of))

    each = [round(NUMBERS["each"](unit.facts)) for unit in units]
    classes = [unit.facts.classes for unit in units]
    spans = (min(each), max(each)), (min(classes), max(classes))
    return Rule(conditions, side(one, False), side(two, True), *spans)


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
