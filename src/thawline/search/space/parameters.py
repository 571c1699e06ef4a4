"""Parameters of a trial: depth, learning rates, and any other field of a recipe that `search.space` lists.

The space is conditional: a parameter exists only in trials in which it means something. `walk` is the one
place that goes through it; suggesting, placing a known recipe and listing a grid differ in who makes the
choices.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import optuna

from thawline.config.recipe.meaning import DECISIVE, Situation, matters, reconciled, thawed
from thawline.config.searchable import TYPES, plain_value, typed_value
from thawline.config.sections import Contender, Finetune, Method, Range, Search, Start

DEPTH, HEAD_LR, BODY_LR, METHOD = "depth", "head_lr", "body_lr", "method"
CHANGES = "changes"
"""User attribute of a trial that holds what its recipe changes outside of the space."""
ORDER = tuple(dict.fromkeys((*DECISIVE, HEAD_LR, BODY_LR, *TYPES)))
"""Fields of a recipe, those first that decide whether others mean something."""

Usable = Mapping[int, Collection[str]]
"""Depth → names of the methods that find something to train there."""


@dataclass(frozen=True)
class TrialSpace:
    """The space of one study: recipes that differ from `base` in what `search` varies.

    `depths` are those of this study, of a network of `units` units. Where all is frozen in each of them (a
    linear probe), nothing of the body is searched. `usable` says at which depth which methods find something
    to train (None: all everywhere), `linear_head` whether a head that learns alone is solved.
    """

    search: Search
    base: Finetune
    depths: Sequence[int]
    units: int
    usable: Usable | None = None
    linear_head: bool = True

    @property
    def is_probe(self) -> bool:
        """Tell whether all units are frozen in every trial."""
        return list(self.depths) == [self.units]


@dataclass(frozen=True)
class Parameter:
    """One choice of a trial. `name` is the parameter's, `field` the recipe's field that it decides."""

    name: str
    field: str
    values: Range | tuple[Any, ...]


Choose = Callable[[Parameter], Any]


def depths(search: Search, contender: Contender, base: Finetune, units: int) -> list[int]:
    """Return the depths a contender may take, ascending: every one from 0 to all `units` unless the search
    lists some; only all for the linear probe and where the body has no rate, only 0 where the body starts
    random or `units` says what learns."""
    source = base.start is Start.source
    if source and (contender is Contender.linear_probe or base.body_lr is None):
        return [units]
    if base.start is Start.random or base.units is not None:
        return [0]
    return sorted(set(search.space.depths or range(units + 1)))


def walk(space: TrialSpace, choose: Choose) -> Finetune:
    """Return `space.base` with every parameter that exists decided by `choose`, in an order in which no
    choice comes before one it depends on."""
    depth = _decide(Parameter(DEPTH, DEPTH, tuple(space.depths)), choose)
    at = Situation(depth, space.units, space.linear_head)
    values = vars(space.base) | {DEPTH: "all" if at.all_frozen else depth}
    offered = _offered(space)
    if METHOD in offered and not thawed(values, at):
        values[METHOD] = Method.full
    for name in ORDER:
        if name in offered and matters(name, values, at):
            parameter = _parameter(name, offered[name], depth, space.usable)
            values[name] = typed_value(name, _decide(parameter, choose))
    if not matters(BODY_LR, values, at):
        values[BODY_LR] = None
    return Finetune(**reconciled(values, at))


def _offered(space: TrialSpace) -> dict[str, Any]:
    """Return what may be chosen for each field, where it means anything."""
    found: dict[str, Any] = {HEAD_LR: fresh_rates(space.base, space.search)}
    found[BODY_LR] = space.search.space.body_lr
    found |= {name: tuple(listed) for name, listed in space.search.space.choices.items()}
    if space.is_probe:
        found.pop("frozen_batch_norm", None)
    return found


def _parameter(name: str, values: Any, depth: int, usable: Usable | None) -> Parameter:
    """Name the parameter. A method that works nowhere but at some depths would be one parameter with several
    lists of values, which Optuna refuses: where some do not work, the parameter has a name of its own."""
    if name != METHOD or usable is None:
        return Parameter(name, name, values)
    left = tuple(each for each in values if each in usable.get(depth, values))
    return Parameter(name if left == values else f"{METHOD}_at_{depth}", name, left)


def _decide(parameter: Parameter, choose: Choose) -> Any:
    values = parameter.values
    return values[0] if isinstance(values, tuple) and len(values) == 1 else choose(parameter)


def varies(space: TrialSpace, depth: int) -> bool:
    """Tell whether two trials at `depth` can differ."""
    asked: list[str] = []

    def choose(parameter: Parameter) -> Any:
        if parameter.field == DEPTH:
            return depth
        asked.append(parameter.name)
        return parameter.values.low if isinstance(parameter.values, Range) else parameter.values[0]

    walk(space, choose)
    return bool(asked)


def suggest(trial: optuna.trial.BaseTrial, space: TrialSpace) -> Finetune:
    """Return the recipe a trial tries: `space.base` with depth, learning rates and `search.space.choices`
    taken from the trial."""

    def choose(parameter: Parameter) -> Any:
        values = parameter.values
        if isinstance(values, Range):
            return trial.suggest_float(parameter.name, values.low, values.high, log=True)
        step = _step(values) if parameter.field == DEPTH else None
        if step is not None:
            return trial.suggest_int(parameter.name, values[0], values[-1], step=step)
        return trial.suggest_categorical(parameter.name, values)

    return walk(space, choose)


def _step(values: Sequence[int]) -> int | None:
    """Return the distance of evenly spaced, ascending values; None where they are not."""
    steps = {after - before for before, after in zip(values, values[1:], strict=False)}
    return steps.pop() if len(steps) == 1 and min(steps) > 0 else None


def recipe_of_trial(trial: optuna.trial.BaseTrial | optuna.trial.FrozenTrial, space: TrialSpace) -> Finetune:
    """Return the recipe of a trial that is running or over: what its user attribute `changes` says is not in
    the space for it, all else is suggested."""
    changes = trial.user_attrs.get(CHANGES, {})
    if changes:
        base = replace(space.base, **{name: typed_value(name, value) for name, value in changes.items()})
        space = replace(space, base=base, search=without(space.search, changes))
    return suggest(trial, space)


def without(search: Search, names: Collection[str]) -> Search:
    """Return `search` with no choice of the fields `names`."""
    choices = {name: listed for name, listed in search.space.choices.items() if name not in names}
    return replace(search, space=replace(search.space, choices=choices))


def point(space: TrialSpace, depth: int) -> dict[str, Any]:
    """Return `space.base` as the parameters of a trial at `depth`: rates moved into the searched ranges, and
    of the choices those whose list has the recipe's value."""
    found: dict[str, Any] = {}

    def choose(parameter: Parameter) -> Any:
        if parameter.field == DEPTH:
            found[DEPTH] = depth
            return depth
        value = plain_value(getattr(space.base, parameter.field))
        if isinstance(parameter.values, Range):
            value = min(max(value, parameter.values.low), parameter.values.high)
        if isinstance(parameter.values, Range) or value in parameter.values:
            found[parameter.name] = value
        return value

    walk(space, choose)
    return found


def fresh_rates(base: Finetune, search: Search) -> Range:
    """Return the rates searched for what starts random: a head, or a whole network, which wants lower
    ones."""
    return search.space.scratch_lr if base.start is Start.random else search.space.head_lr
