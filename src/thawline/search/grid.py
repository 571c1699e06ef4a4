"""Every point of the search space, for the sampler `grid`."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from thawline.config.errors import UserError
from thawline.config.sections import Finetune, Range, SamplerName, Search
from thawline.search.space import Parameter, Usable, walk


def grid(
    search: Search, base: Finetune, allowed: Sequence[int], units: int, usable: Usable | None = None
) -> list[dict[str, Any]]:
    """All combinations of depth, choices and `search.grid_points` values of each rate, as the parameters of
    trials. Only parameters that exist in a combination are in it, so that none occurs twice. The last
    parameter changes fastest."""
    found: list[dict[str, Any]] = []
    digits: list[int] = []
    while True:
        odometer = _Odometer(digits, search.grid_points)
        walk(base, search, allowed, units, odometer.choose, usable)
        found.append(odometer.chosen)
        following = odometer.following()
        if following is None:
            return found
        digits = following


class _Odometer:
    """Decides parameters by the positions in `digits`, and by the first value where it has no digit yet."""

    def __init__(self, digits: Sequence[int], grid_points: int) -> None:
        self.digits = list(digits)
        self.grid_points = grid_points
        self.sizes: list[int] = []
        self.chosen: dict[str, Any] = {}

    def choose(self, parameter: Parameter) -> Any:
        values = _values(parameter, self.grid_points)
        position = len(self.sizes)
        self.sizes.append(len(values))
        if position == len(self.digits):
            self.digits.append(0)
        value = self.chosen[parameter.name] = values[self.digits[position]]
        return value

    def following(self) -> list[int] | None:
        """The digits of the next combination, cut off behind the one that changed, because what exists may
        depend on it; None after the last."""
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


def refuse_too_large(search: Search, points: int) -> None:
    """Raise `UserError` where a grid of so many `points` does not fit into `search.trials`: a part of a grid
    would leave out whole depths. A budget in minutes has no such number."""
    if search.sampler is not SamplerName.grid or search.minutes is not None or points <= search.trials:
        return
    raise UserError(
        f"search.sampler = 'grid' has {points} points, but search.trials = {search.trials}.\n"
        f"  set search.trials={points}, or fewer values (search.grid_points, search.space.depths, "
        "search.space.choices), or search.sampler=random"
    )
