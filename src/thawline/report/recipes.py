"""Recipes on the page: its first sentence, and the cells of its tables. The words are
`config.recipe.words`'."""

from dataclasses import dataclass
from functools import cached_property

from thawline.config.recipe.fields import Finetune
from thawline.config.recipe.meaning import Situation, is_probe, solved
from thawline.config.recipe.words import (
    besides,
    head_cuts,
    head_words,
    method_words,
    named_rates,
    probe_first_words,
)
from thawline.config.sections import Start
from thawline.report.findings import FINETUNED, Findings
from thawline.report.wording import coverage
from thawline.training.recipe import Chosen
from thawline.wording import counted, listed, percent, percent_range, rate


@dataclass(frozen=True)
class Told:
    """A contender's recipe, and how many units the network has (None where that is not known)."""

    chosen: Chosen
    units: int | None

    @property
    def recipe(self) -> Finetune:
        return self.chosen.recipe

    @cached_property
    def at(self) -> Situation:
        """Return where the recipe is used."""
        return Situation.of(vars(self.recipe), self.chosen.depth, self.units, self.chosen.linear_head)

    @property
    def is_probe(self) -> bool:
        """Tell whether it is the contender `linear_probe` by another name."""
        return is_probe(vars(self.recipe), self.at)


def told(findings: Findings, name: str = FINETUNED) -> Told:
    """Return the recipe of a contender with what the page knows of its network."""
    return Told(findings.recipes[name], findings.units)


def answer(findings: Findings) -> str:
    """Return which recipe it is, and how good it is on the test pictures, in a sentence."""
    found = findings.metrics[FINETUNED]
    accuracy, seeds = found["accuracy"], len(found["seeds"])
    over = f"mean of {seeds} seeds" if seeds > 1 else "one seed"
    return (
        f"With {described(told(findings))}, the model labels "
        f"**{percent(accuracy['mean'])}** of {counted(found['n_test'], 'test picture')} correctly "
        f"({coverage(findings)} interval {percent_range(accuracy)}, {over})."
    )


def described(told: Told) -> str:
    """Return the recipe, to follow the word “with”."""
    count = len(named_rates(told.recipe, told.at))
    how = [f"learning {'rates' if count > 1 else 'rate'} {rates(told)}"] if count else []
    return listed([learning(told), *besides(told.recipe, told.at), *how])


def learning(told: Told) -> str:
    """Return what is frozen and what learns in the rest, to follow the word “with”."""
    if told.recipe.start is Start.random:
        return "every weight trained from a random start (nothing copied)"
    if solved(vars(told.recipe), told.at):
        return f"only {head_words(told.recipe, told.at)}, solved (all {told.chosen.depth} units frozen)"
    if told.at.all_frozen:
        return f"only the head trained (all {told.chosen.depth} units frozen)"
    first, method = probe_first_words(told.recipe, told.at), method_words(told.recipe, told.at)
    then = f"{method} in {_where(told)}" if method else _whole_units(told)
    return f"{first}, then {then}" if first else then


def _whole_units(told: Told) -> str:
    if told.recipe.units is not None:
        return f"only {listed([*_named(told.recipe.units), 'the head'])} learning"
    depth, unit = told.chosen.depth, told.chosen.unit
    if depth == 0:
        return "full fine-tuning (no unit frozen)"
    return f"{_first(told)} frozen ({'' if depth == 1 else 'up to '}`{unit}`)"


def _where(told: Told) -> str:
    if told.recipe.units is not None:
        return f"{listed(_named(told.recipe.units))} (all other units frozen)"
    if told.chosen.depth == 0:
        return f"all {told.units} units" if told.units else "all units"
    return f"the units after `{told.chosen.unit}` ({_first(told)} frozen)"


def _first(told: Told) -> str:
    """Return e.g. `the first 3 of 9 units`."""
    depth, units = told.chosen.depth, told.units
    if depth == 1:
        return f"the first {f'of {units} units' if units else 'unit'}"
    return f"the first {f'{depth} of {units}' if units else depth} units"


def _named(units: list[str]) -> list[str]:
    return [f"`{name}`" for name in units]


def frozen_cell(told: Told) -> str:
    """Return how many units are frozen, with the name of the last one."""
    if told.recipe.units is not None:
        return f"all but {listed(_named(told.recipe.units))}"
    unit = told.chosen.unit
    return f"{told.chosen.depth}" + (f" (`{unit}`)" if unit else "")


def method_cell(told: Told) -> str | None:
    """Return what `frozen_cell` leaves out; None for a plain frozen prefix."""
    recipe, at = told.recipe, told.at
    first = [probe_first_words(recipe, at), method_words(recipe, at)]
    if solved(vars(recipe), at) and head_cuts(recipe, at) > 1:
        first = [head_words(recipe, at)]
    return "; ".join([*filter(None, first), *besides(recipe, at)]) or None


def rates(told: Told) -> str:
    """Return the learning rates that matter; `–` where there are none, because the head is solved."""
    found = named_rates(told.recipe, told.at)
    if len(found) < 2:
        return rate(found[0][0] if found else None)
    return " and ".join(f"{rate(value)} ({whose})" for value, whose in found)
