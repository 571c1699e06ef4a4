"""Every point of the search space, for the sampler `grid`."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np

from thawline.config.errors import UserError
from thawline.config.recipe.meaning import DECISIVE
from thawline.config.sections import Range, Search
from thawline.search.space.parameters import DEPTH, Parameter, TrialSpace, walk

COUNTED = 2000
"""Combinations after which a grid that is too large is not counted any further: about a second."""


def grid(space: TrialSpace) -> list[dict[str, Any]]:
    """Return all combinations of depth, choices and `search.grid_points` values of each rate, as the
    parameters of trials. Only parameters that exist in a combination are in it, so that none occurs twice.
    The last parameter changes fastest."""
    return [each.chosen for each in _combinations(space)]


def count(space: TrialSpace) -> tuple[int, bool]:
    """Return how many points `grid` lists, and whether these are all: what is clearly more than
    `search.trials` is not counted to its end. Parameters that no other depends on are not listed but
    multiplied."""
    points = 0
    fields = (DEPTH, *DECISIVE)
    for walked, each in enumerate(_combinations(space, fields)):
        if walked >= COUNTED and points > space.search.trials:
            return points, False
        points += each.alike
    return points, True


def _combinations(space: TrialSpace, fields: Collection[str] | None = None) -> Iterator["_Odometer"]:
    """Yield one after another; of all `fields`, or of these only."""
    digits: list[int] | None = []
    while digits is not None:
        odometer = _Odometer(digits, space.search.grid_points, fields)
        walk(space, odometer.choose)
        yield odometer
        digits = odometer.following()


class _Odometer:
    """Decides parameters by the positions in `digits`, and by the first value where it has no digit yet.

    Those of other fields than `fields` have no digits: `alike` counts the combinations that differ in these
    alone.
    """

    def __init__(
        self, digits: Sequence[int], grid_points: int, fields: Collection[str] | None = None
    ) -> None:
        self.digits = list(digits)
        self.grid_points, self.fields = grid_points, fields
        self.sizes: list[int] = []
        self.chosen: dict[str, Any] = {}
        self.alike = 1

    def choose(self, parameter: Parameter) -> Any:
        values = _values(parameter, self.grid_points)
        if self.fields is not None and parameter.field not in self.fields:
            self.alike *= len(values)
            return values[0]
        position = len(self.sizes)
        self.sizes.append(len(values))
        if position == len(self.digits):
            self.digits.append(0)
        value = self.chosen[parameter.name] = values[self.digits[position]]
        return value

    def following(self) -> list[int] | None:
        """Return the digits of the next combination, cut off behind the one that changed, because what exists
        may depend on it; None after the last."""
        for position in reversed(range(len(self.sizes))):
            if self.digits[position] + 1 < self.sizes[position]:
                return [*self.digits[:position], self.digits[position] + 1]
        return None


def _values(parameter: Parameter, grid_points: int) -> list[Any]:
    values = parameter.values
    if not isinstance(values, Range):
        return list(values)
    if grid_points == 1:
        return [float(np.sqrt(values.low * values.high))]
    return np.geomspace(values.low, values.high, grid_points).tolist()


def refuse_part(search: Search, points: int, all_of_them: bool = True) -> None:
    """Raise `UserError` where only a part of a grid of so many `points`, or more, would be run, which leaves
    out whole depths: it does not fit into `search.trials`."""
    if points <= search.trials:
        return
    raise UserError(
        f"search.sampler = 'grid' has {'' if all_of_them else 'more than '}{points} points, but "
        f"search.trials = {search.trials}.\n"
        f"  set search.trials={points if all_of_them else 'as many'}, or fewer values "
        "(search.grid_points, search.space.depths, search.space.choices), or search.sampler=random"
    )
