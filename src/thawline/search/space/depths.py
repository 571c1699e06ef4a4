"""Depths that a study may try, and methods at each: what is asked for and what the network has."""

import copy
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence

from torch import nn

from thawline.config.errors import UserError
from thawline.config.recipe.contenders import contender_of
from thawline.config.recipe.meaning import AFFINE
from thawline.config.sections import Config, Finetune, Method, Start
from thawline.models.cuts import Unit
from thawline.models.depth import frozen_units, require_depths, resolve_depth
from thawline.search.space.parameters import METHOD, depths
from thawline.training.finetune import with_method

log = logging.getLogger(__name__)


def asked_depths(config: Config, base: Finetune, units: tuple[Unit, ...], architecture: str) -> list[int]:
    """Return the depths that the configuration asks for. Raise `UserError` for what the network lacks."""
    search = config.search
    depth = resolve_depth(base.depth, units)
    frozen_units(base.depth, base.units, units)  # refuses names of units it does not know
    if not search.enabled:
        return [depth]
    if search.space.depths is not None and base.units is not None:
        raise UserError(
            f"search.space.depths = {search.space.depths}, but finetune.units = {base.units} says which "
            "units learn, so that there is no depth to search.\n"
            "  set search.space.depths=null or finetune.units=null"
        )
    allowed = depths(search, contender_of(config), base, len(units))
    require_depths(allowed, len(units), architecture)
    return allowed


def usable_methods(
    network: nn.Module,
    config: Config,
    base: Finetune,
    units: tuple[Unit, ...],
    asked: Sequence[int],
    architecture: str,
) -> dict[int, tuple[str, ...]]:
    """Return, of each depth asked for, the methods that find something to train there, or with all frozen on
    purpose; a depth at which none does is left out, and both are logged.

    Raises `UserError` when a method is left with nothing but the linear probe, which would not be what was
    asked for.
    """
    usable = {depth: tuple[str, ...]() for depth in asked}
    for method in _methods(config, base, probe=list(asked) == [len(units)]):
        refused = _refused(network, config, base, units, asked, method)
        _require_some(method, refused, asked, len(units), architecture)
        if refused:
            without = ", ".join(map(str, refused))
            name = contender_of(config).name
            log.info("search %s: not at depth %s, where %s does nothing", name, without, method.name)
        for depth in asked:
            usable[depth] += () if depth in refused else (method.name,)
    return {depth: methods for depth, methods in usable.items() if methods}


def _methods(config: Config, base: Finetune, probe: bool) -> list[Method]:
    listed = config.search.space.choices.get(METHOD)
    # from scratch and in a linear probe there is no body for a method to work on
    if not config.search.enabled or listed is None or base.start is Start.random or probe:
        return [base.method]
    return [Method[name] for name in listed]


def _refused(
    network: nn.Module,
    config: Config,
    base: Finetune,
    units: tuple[Unit, ...],
    asked: Sequence[int],
    method: Method,
) -> dict[int, UserError]:
    """Return the depths at which `method` does nothing, and what it says there."""
    if method is Method.full:
        return {}

    def attempt(depth: int) -> UserError | None:
        frozen = frozen_units(depth, base.units, units)
        changed = copy.copy(base)
        # not by `replace`: whether the other fields suit the method is decided where trials are made
        changed.method = method
        try:
            with_method(copy.deepcopy(network), changed, frozen, config.seed)
        except UserError as error:
            return error
        return None

    # nothing is missing where all is frozen on purpose
    thawed = [depth for depth in asked if depth < len(units)] or asked
    return _outside(thawed, attempt, gaps=base.frozen_batch_norm in AFFINE)


def _outside(
    ascending: Sequence[int], attempt: Callable[[int], UserError | None], gaps: bool
) -> dict[int, UserError]:
    """Return the depths that fail, and how, with few attempts, each of which takes long with a large network.

    A method finds too little to train from some depth on, or adds more than the network can do with up to
    some depth: it works at depths next to each other, whose ends are found from both sides. With `gaps`
    (BatchNorm that learns in frozen units is found again at greater depths) every depth is tried.
    """
    if gaps:
        return {depth: error for depth in ascending if (error := attempt(depth))}
    found = dict(_failing(ascending, attempt))
    return found | dict(sorted(_failing(ascending[: len(found) : -1], attempt)))


def _failing(
    depths: Sequence[int], attempt: Callable[[int], UserError | None]
) -> Iterator[tuple[int, UserError]]:
    """Yield those up to the first that works."""
    for depth in depths:
        error = attempt(depth)
        if error is None:
            return
        yield depth, error


def _require_some(
    method: Method, refused: Mapping[int, UserError], asked: Sequence[int], units: int, architecture: str
) -> None:
    if not refused:
        return
    first, reason = next(iter(refused.items()))
    if len(asked) == 1:
        raise reason
    if {depth for depth in asked if depth not in refused} <= {units}:
        raise UserError(
            f"finetune.method = {method.name} does nothing for {architecture} at any depth searched "
            f"({', '.join(map(str, refused))}).\n  at depth {first}: {reason}"
        ) from reason
