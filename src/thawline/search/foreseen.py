"""What the trials of a study try, where that is known before any of them has begun."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from thawline.config.sections import Finetune, Limit, Search, StackUse
from thawline.search.samplers import PROPOSED_BEFOREHAND, drawn
from thawline.search.task import PLACE, Slot
from thawline.training.at_once import common, refused

LARGEST = 32
"""Trainings at once, at most."""


class Foreseen:
    """A trial that has not begun: it has what its slot says, and draws the rest as its sampler will."""

    def __init__(self, slot: Slot, place: int, seed: int) -> None:
        self.user_attrs: Mapping[str, Any] = {**slot.attrs, PLACE: place}
        self._params, self._seed = slot.params, seed

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> Any:
        return self._value(name, FloatDistribution(low, high, log=log))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1) -> Any:
        return self._value(name, IntDistribution(low, high, step=step))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._value(name, CategoricalDistribution(choices))

    def _value(self, name: str, distribution: BaseDistribution) -> Any:
        if name in self._params:
            return self._params[name]
        return drawn(self._seed, self.user_attrs, name, distribution)

    @property
    def trial(self) -> optuna.trial.BaseTrial:
        """This, to whom it is given as a trial."""
        return cast("optuna.trial.BaseTrial", self)


def foreseeable(search: Search) -> bool:
    """Whether each trial is what it is whatever the others come to, and none is measured while it trains."""
    return search.sampler in PROPOSED_BEFOREHAND and search.minutes is None and search.limit == Limit()


def stacks(recipes: Iterable[Finetune], search: Search) -> dict[int, tuple[Finetune, ...]]:
    """Which of `recipes` are trained at once: at the place of each that is not alone, it and the others.

    Every worker would train the whole of a stack: with several of them, there are none unless asked for.
    """
    use, alone = search.stack, search.workers == 1
    alike: dict[str, list[tuple[int, Finetune]]] = {}
    for place, recipe in enumerate(recipes):
        wanted = use is StackUse.always or (use is StackUse.auto and alone and recipe.depth == "all")
        if wanted and refused(recipe) is None:
            alike.setdefault(repr(common(recipe)), []).append((place, recipe))
    found: dict[int, tuple[Finetune, ...]] = {}
    for those in alike.values():
        for start in range(0, len(those), LARGEST):
            block = those[start : start + LARGEST]
            if len(block) > 1:
                found |= {place: tuple(recipe for _, recipe in block) for place, _ in block}
    return found
