"""What a recipe's `depth` means for one network."""

import difflib
from collections.abc import Sequence

from thawline.config.errors import UserError
from thawline.models.cuts import Unit


def resolve_depth(depth: int | float | str, units: Sequence[Unit]) -> int:
    """The number of leading units to freeze, from 0 to `len(units)`.

    `depth` is a count; a fraction strictly between 0 and 1 of all units (rounded to the nearest
    count); the name of the last frozen unit, or of any module: then the last unit that holds some of
    its parameters; or `all`. Raises `UserError` with what is allowed.
    """
    if isinstance(depth, bool):
        raise _not_allowed(depth, units)
    if isinstance(depth, str):
        return len(units) if depth == "all" else _depth_of_name(depth, units)
    if isinstance(depth, int) and 0 <= depth <= len(units):
        return depth
    if isinstance(depth, float) and 0 < depth < 1:
        return int(depth * len(units) + 0.5)
    raise _not_allowed(depth, units)


def _depth_of_name(name: str, units: Sequence[Unit]) -> int:
    holders = [unit for unit in units if unit.name == name or _holds(unit, name)]
    if not holders:
        raise _not_allowed(name, units)
    return holders[-1].index + 1


def _holds(unit: Unit, module: str) -> bool:
    return any(name == module or name.startswith(f"{module}.") for name in unit.parameters)


def _not_allowed(depth: object, units: Sequence[Unit]) -> UserError:
    names = [unit.name for unit in units]
    near = difflib.get_close_matches(str(depth), names, n=5, cutoff=0.4) if isinstance(depth, str) else []
    return UserError(
        f"depth = {depth!r} is not allowed for a network of {len(units)} units.\n"
        f"  allowed: a count from 0 to {len(units)}, a fraction strictly between 0 and 1, `all`, or the name "
        f"of a unit\n  {'nearest' if near else 'units'}: {', '.join(near or names)}"
    )
