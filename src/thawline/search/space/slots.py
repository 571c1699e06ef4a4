"""The places of a contender's study: what each must try, and how many there are."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from thawline.config.sections import Finetune, Goal, SamplerName, Search
from thawline.models.cuts import Unit
from thawline.models.depth import resolve_depth
from thawline.search.space.grid import count, grid, refuse_part
from thawline.search.space.known_recipes import known
from thawline.search.space.parameters import DEPTH, Usable, point
from thawline.search.task import RATES, Slot


class Slots:
    """Of a study at `depths`: known recipes and then free places; every point of a grid; or equally many
    places at each depth, of which the first is the configured recipe at that depth.

    Raises `UserError` for a grid with more points than trials, or with a limit in minutes.
    """

    def __init__(
        self,
        search: Search,
        base: Finetune,
        depths: Sequence[int],
        units: tuple[Unit, ...],
        usable: Usable | None,
    ) -> None:
        self.search, self.base, self.depths = search, _counted(base, units), depths
        self.units, self.usable = len(units), usable
        if search.enabled and search.goal is Goal.recipe and search.sampler is SamplerName.grid:
            refuse_part(search, *count(search, self.base, depths, self.units, usable))

    @property
    def total(self) -> int | None:
        """Places in the study; None: as many as its time allows."""
        if not self.search.enabled:
            return 0
        if self.search.goal is Goal.depth_curve:
            return self.search.trials_per_depth * len(self.depths)
        if self.search.sampler is SamplerName.grid:
            return len(self._grid)
        return None if self.search.minutes else self.search.trials

    def slot(self, index: int) -> Slot | None:
        """The place `index`; None where there are fewer."""
        if self.total is not None and index >= self.total:
            return None
        if self.search.goal is Goal.depth_curve:
            return self._of_depth(index)
        if self.search.sampler is SamplerName.grid:
            return Slot(self._grid[index])
        return self._known[index] if index < len(self._known) else Slot()

    def _of_depth(self, index: int) -> Slot:
        """All depths in turn, so that a study that ended early has as many trials at each of them."""
        rates, position = divmod(index, len(self.depths))
        depth = self.depths[position]
        fixed = {DEPTH: depth} if len(self.depths) > 1 else {}
        if rates == 0:
            fixed = point(self.base, self.search, self.depths, depth, self.units, self.usable)
        return Slot(fixed, {RATES: rates})

    @cached_property
    def _known(self) -> list[Slot]:
        return known(self.search, self.base, self.depths, self.units, self.usable)

    @cached_property
    def _grid(self) -> list[dict[str, Any]]:
        return grid(self.search, self.base, self.depths, self.units, self.usable)


def _counted(base: Finetune, units: tuple[Unit, ...]) -> Finetune:
    """`base` with its depth as a count, where that is said by the name of a unit."""
    if not isinstance(base.depth, str) or base.depth == "all":
        return base
    depth = resolve_depth(base.depth, units)
    return replace(base, depth="all" if depth == len(units) else depth)
