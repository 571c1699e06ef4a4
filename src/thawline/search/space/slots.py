"""Places of a contender's study: what each must try, and how many there are."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from thawline.config.sections import Finetune, Goal, SamplerName, Search
from thawline.models.cuts import Unit
from thawline.models.depth import resolve_depth
from thawline.search.space.grid import count, grid, refuse_part
from thawline.search.space.known_recipes import known
from thawline.search.space.parameters import DEPTH, TrialSpace, Usable, point, varies
from thawline.search.task import RATES, Slot


class Slots:
    """Places of a study at `depths`: known recipes and then free places; every point of a grid; or equally
    many places at each depth, of which the first is the configured recipe at that depth.

    Where nothing varies, because a solved head has no learning rate, there is one place: in the study, or at
    that depth. Raises `UserError` for a grid with more points than trials.
    """

    def __init__(
        self,
        search: Search,
        base: Finetune,
        depths: Sequence[int],
        units: tuple[Unit, ...],
        usable: Usable | None,
        linear_head: bool = True,
    ) -> None:
        self.search = search
        self.space = TrialSpace(search, _counted(base, units), depths, len(units), usable, linear_head)
        if search.enabled and search.goal is Goal.recipe and search.sampler is SamplerName.grid:
            refuse_part(search, *count(self.space))

    @property
    def total(self) -> int:
        """Number of places in the study."""
        if not self.search.enabled:
            return 0
        if self.search.goal is Goal.depth_curve:
            return len(self._depths) + (self.search.trials_per_depth - 1) * len(self._varying)
        if len(self._depths) == 1 and not self._varying:
            return 1
        if self.search.sampler is SamplerName.grid:
            return len(self._grid)
        return self.search.trials

    def slot(self, index: int) -> Slot | None:
        """Return the place `index`; None where there are fewer."""
        if index >= self.total:
            return None
        if self.search.goal is Goal.depth_curve:
            return self._of_depth(index)
        if self.search.sampler is SamplerName.grid:
            return Slot(self._grid[index])
        return self._known[index] if index < len(self._known) else Slot()

    def _of_depth(self, index: int) -> Slot:
        """Take all depths in turn, so that a study that ended early has as many trials at each of them."""
        if index < len(self._depths):
            return Slot(point(self.space, self._depths[index]), {RATES: 0})
        rates, position = divmod(index - len(self._depths), len(self._varying))
        fixed = {DEPTH: self._varying[position]} if len(self._depths) > 1 else {}
        return Slot(fixed, {RATES: rates + 1})

    @property
    def _depths(self) -> Sequence[int]:
        return self.space.depths

    @cached_property
    def _varying(self) -> list[int]:
        """Depths at which trials can differ."""
        return [depth for depth in self._depths if varies(self.space, depth)]

    @cached_property
    def _known(self) -> list[Slot]:
        return known(self.space)

    @cached_property
    def _grid(self) -> list[dict[str, Any]]:
        return grid(self.space)


def _counted(base: Finetune, units: tuple[Unit, ...]) -> Finetune:
    """Return `base` with its depth as a count, where that is said by the name of a unit."""
    if not isinstance(base.depth, str) or base.depth == "all":
        return base
    depth = resolve_depth(base.depth, units)
    return replace(base, depth="all" if depth == len(units) else depth)
