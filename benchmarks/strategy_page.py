"""What strategies.py measured, as it stands: tables of docs/strategy.md, and numbers of the package."""

import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pages import ROOT, fill, interval, table
from strategy_cells import FACTORS, STRATEGIES, Cell, Finished, Subset, cells
from strategy_fit import ORDER, Measured, Pairs, fitted, mean_of, regrets

from thawline.artifacts import write_text
from thawline.config.sections import Finetune
from thawline.strategy.rule import PROBE, Facts, Prior, Rule
from thawline.strategy.words import STRATEGIES as CALLED

RULE, PRIOR = (
    Path("src") / "thawline" / "strategy" / name for name in ("measured_rule.py", "measured_prior.py")
)
"""Two modules: what a search begins with does not change because more is known of what to advise."""
LINE = "| -- "
RATES = {"": 1.0, "low": FACTORS["low"], "high": FACTORS["high"]}
USUAL = ("lp_ft", "moving")
"""LP-FT as its preset is, whose BatchNorm goes on estimating."""
NO_PRIOR = "too little is measured, or no recipe beats the usual one by more than chance"
ENOUGH = 4
"""Pairs of data set and source from which on a gain is believed, where its interval lies above zero."""


def progress(finished: Finished) -> str:
    """Say how many cells of each strategy and seed there are."""
    found: dict[str, list[int]] = {}
    for cell in cells():
        count = found.setdefault(f"seed {cell.subset.seed} {cell.strategy} {cell.variant}".strip(), [0, 0])
        count[0] += finished.get(cell) is not None
        count[1] += 1
    done, everything = (sum(each[at] for each in found.values()) for at in (0, 1))
    return "\n".join([f"{a} of {b}: {name}" for name, (a, b) in found.items()] + [f"{done} of {everything}"])


def right(cell: Cell, finished: Finished, key: str = "correct") -> np.ndarray | None:
    """Return for each test picture whether a cell is right, (N,); None where it is not measured yet."""
    found = finished.get(cell)
    return None if found is None else np.array(list(found[key])) == "1"


def measured(finished: Finished) -> dict[Subset, Measured]:
    """Return the subsets on which every strategy was measured."""
    found = {}
    for subset in {cell.subset: None for cell in cells()}:
        known = {name: right(Cell(subset, name), finished) for name in STRATEGIES}
        heads = Cell(subset, "heads")
        known |= {PROBE: right(heads, finished, "several"), "last_cut": right(heads, finished)}
        complete = {name: each for name, each in known.items() if each is not None}
        if len(complete) == len(known):
            found[subset] = Measured(subset.data, subset.source, facts(heads, finished), complete)
    return found


def facts(heads: Cell, finished: Finished) -> Facts:
    """Return what was known of a subset before anything was fine-tuned."""
    told = finished.get(heads)
    assert told is not None
    sets = {tuple(cuts): accuracy for cuts, accuracy, _ in told["sets"]}
    peak = min(told["singles"], key=lambda depth: told["singles"][depth][1])
    last = sets[told["units"],]
    best = sets[tuple(told["cuts"])]
    return Facts(told["pictures"], told["classes"], last, best, int(peak) / told["units"])


def compared(finished: Finished, one: tuple[str, ...], other: tuple[str, ...]) -> Pairs:
    """Return the gain of one strategy (with its variant) on another wherever both were measured."""
    found = []
    for subset in {cell.subset: None for cell in cells()}:
        first, second = (right(Cell(subset, *each), finished) for each in (one, other))
        if first is not None and second is not None:
            found.append(((subset.data, subset.source), float(first.mean() - second.mean())))
    return found


def points(pairs: Pairs) -> str:
    """Write a mean gain in percentage points with its interval."""
    if not pairs:
        return "–"
    mean, low, high = mean_of(pairs)
    return f"{100 * mean:+.1f}" if low is None else interval(mean, low, high, "+.1f", 100)


def accuracies(found: dict[Subset, Measured]) -> str:
    """Return the table of every strategy's test accuracy, the best of a row in bold."""
    names, rows = ("last_cut", *ORDER), defaultdict(list)
    for subset, unit in found.items():
        rows[subset[:3]].append(unit)
    lines = []
    for place, units in rows.items():
        means = [float(np.mean([unit.accuracy[name] for unit in units])) for name in names]
        best = max(means)
        written = [f"**{each:.3f}**" if each == best else f"{each:.3f}" for each in means]
        lines.append([*map(str, place), str(len(units)), *written])
    return table(
        ["data", "source", "a class", "seeds", *(name.replace("_", " ") for name in names)], lines, LINE
    )


def regret_table(units: Sequence[Measured]) -> str:
    """Return the table of regrets, by data set and over all."""
    sets = list(dict.fromkeys(unit.data for unit in units))
    if rule_of(units) is None:
        return "Not told yet: too few data sets are finished."
    lines = []
    for name, values in regrets(units).items():
        by_set = [
            np.mean([v for v, unit in zip(values, units, strict=True) if unit.data == one]) for one in sets
        ]
        whole = points([(unit.place, v) for v, unit in zip(values, units, strict=True)])
        lines.append([name.replace("_", " "), *(f"{100 * each:+.1f}" for each in by_set), whole])
    return table(["", *sets, "mean (95 %)"], lines, LINE)


def variants(finished: Finished) -> str:
    """Return the table of what other rates and moving statistics of BatchNorm are worth, paired."""
    lines = []
    for name in list(STRATEGIES)[:4]:
        gains = [compared(finished, (name, variant), (name,)) for variant in FACTORS]
        lines.append([name.replace("_", " "), str(min(map(len, gains))), *map(points, gains)])
    names = ("rates / 3", "rates x 3", "BatchNorm estimating")
    return table(["", "subsets", *names], lines, LINE)


def others(finished: Finished) -> str:
    """Return the table of strategies that were measured on some subsets alone, against the head on the last
    cut."""
    lines = []
    for name in ("lora", "from_scratch"):
        gains = compared(finished, (name,), ("heads",))
        lines.append([name.replace("_", " "), str(len(gains)), points(gains)])
    return table(["", "subsets", "minus the last cut's head"], lines, LINE)


def prior(finished: Finished) -> Prior | None:
    """Return the best of the partly frozen recipes and LP-FT at three rates; None unless it beats the usual
    recipe by more than chance."""
    rate = Finetune().body_lr
    assert rate is not None
    found = {}
    for name in list(STRATEGIES)[:3]:
        for variant, factor in RATES.items():
            pairs = compared(finished, (name, variant), USUAL)
            if len({place for place, _ in pairs}) >= ENOUGH:
                found[name, factor] = mean_of(pairs)
    if not found:
        return None
    name, factor = max(found, key=lambda each: found[each][0])
    if (found[name, factor][1] or 0) <= 0:
        return None
    return Prior(STRATEGIES[name][1], float(f"{factor * rate:.1g}"))


def rule_of(units: Sequence[Measured]) -> Rule | None:
    """Return the rule that fits; None where too little is measured to leave out a data set."""
    places = {unit.place for unit in units}
    return fitted(units) if len(places) >= ENOUGH and len({data for data, _ in places}) > 2 else None


def in_words(rule: Rule | None) -> str:
    """Say what a rule advises, and where."""
    if rule is None:
        return "That is too little for a rule."
    otherwise = f"**{CALLED[rule.freeze.strategy][0]}**"
    if not rule.conditions:
        return f"They support no condition: the advice is {otherwise}, whatever the pictures."
    advised = f"**{CALLED[rule.unfreeze.strategy][0]}**"
    where = " and ".join(f"`{each.number}` is at least {each.least:.3g}" for each in rule.conditions)
    return f"The advice is {advised} where {where}, elsewhere {otherwise}."


def written(name: str, value: Rule | Prior | None, without: str, subsets: str) -> str:
    """Return the module of the rule or the prior: of how many `subsets` it was made, and when there is none
    (`without`)."""
    kind = name.capitalize()
    used = {each for each in ("Condition", "Side", "Prior", "Rule") if f"{each}(" in repr(value)}
    return (
        f'"""The {name} that was measured, from {subsets} subsets (docs/strategy.md).\n\n'
        "Written by: python benchmarks/strategies.py --fit\n"
        '"""\n\n'
        f"from thawline.strategy.rule import {', '.join(sorted(used | {kind}))}\n\n"
        f"{name.upper()}: {kind} | None = {value!r}\n"
        f'"""None where {without}."""\n'
    )


def write(finished: Finished, root: Path = ROOT) -> None:
    """Write the tables and the numbers that the finished cells support."""
    found = measured(finished)
    everything = len({cell.subset for cell in cells()})
    rule = rule_of(list(found.values()))
    tables = {
        "done": f"{len(found)} of {everything} subsets are measured. {in_words(rule)}",
        "accuracies": accuracies(found),
        "regrets": regret_table(list(found.values())),
        "variants": variants(finished),
        "others": others(finished),
    }
    fill("strategy.md", tables, root)
    of = f"{len(found)} of {everything}"
    usual = len(compared(finished, USUAL, USUAL))
    write_text(root / RULE, written("rule", rule, "too little is measured", of))
    write_text(
        root / PRIOR,
        written("prior", prior(finished), NO_PRIOR, f"{usual} of {everything}"),
    )
    subprocess.run([sys.executable, "-m", "ruff", "format", "-q", root / RULE, root / PRIOR], check=True)
