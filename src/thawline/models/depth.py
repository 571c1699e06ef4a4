"""Resolution of a recipe's `depth` and `units` for one network."""

import difflib
from collections.abc import Collection, Sequence

from thawline.config.errors import UserError
from thawline.models.cuts import Unit


def frozen_units(
    depth: int | float | str, names: Collection[str] | None, units: Sequence[Unit]
) -> frozenset[int]:
    """Return the indices of the frozen units.

    Without `names`, the leading ones that `depth` says (see `resolve_depth`). With `names`, `depth` means
    nothing: all units are frozen but those so called and those that hold some parameters of a module so
    called, which learn as a whole (surgical fine-tuning, Lee et al. 2023). Raises `UserError` for names
    that are neither.
    """
    if names is None:
        return frozenset(range(resolve_depth(depth, units)))
    learning = {unit.index for name in names for unit in _named(name, units)}
    unknown = [name for name in names if not _named(name, units)]
    if unknown:
        raise _no_such_units(unknown, units)
    return frozenset(unit.index for unit in units) - learning


def resolve_depth(depth: int | float | str, units: Sequence[Unit]) -> int:
    """Return the number of leading units to freeze, from 0 to `len(units)`.

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


def require_depths(listed: Sequence[int], units: int, architecture: str) -> None:
    """Raise `UserError` where depths to search, counts of frozen units, are more than the network has."""
    if max(listed) > units:
        raise UserError(
            f"search.space.depths = {list(listed)}, but {architecture} has {units} units.\n"
            f"  allowed: counts of frozen units from 0 to {units}"
        )


def resolve_cuts(cuts: Sequence[int | str], units: Sequence[Unit]) -> tuple[int, ...]:
    """Return the depths, rising, of the cuts that a head is to read: those that `cuts` says, each as for
    `resolve_depth`, and the last one; none for the last one alone.

    Raises `UserError` with what is allowed.
    """
    found = sorted({*(resolve_depth(cut, units) for cut in cuts), len(units)})
    if found[0] < 1:
        raise UserError("head_cuts: no unit has made anything of a picture at depth 0.\n  Leave 0 out.")
    return () if found == [len(units)] else tuple(found)


def _depth_of_name(name: str, units: Sequence[Unit]) -> int:
    holders = _named(name, units)
    if not holders:
        raise _not_allowed(name, units)
    return holders[-1].index + 1


def _named(name: str, units: Sequence[Unit]) -> list[Unit]:
    return [unit for unit in units if unit.name == name or _holds(unit, name)]


def _holds(unit: Unit, module: str) -> bool:
    return any(name == module or name.startswith(f"{module}.") for name in unit.parameters)


def _not_allowed(depth: object, units: Sequence[Unit]) -> UserError:
    names = [unit.name for unit in units]
    near = _nearest(depth, units) if isinstance(depth, str) else []
    return UserError(
        f"depth = {depth!r} is not allowed for a network of {len(units)} units.\n"
        f"  allowed: a count from 0 to {len(units)}, a fraction strictly between 0 and 1, `all`, or the name "
        f"of a unit\n  {'nearest' if near else 'units'}: {', '.join(near or names)}"
    )


def _no_such_units(unknown: Sequence[str], units: Sequence[Unit]) -> UserError:
    found = {name: ", ".join(_nearest(name, units)) or "none" for name in unknown}
    nearest = "\n".join(f"  nearest to {name!r}: {near}" for name, near in found.items())
    return UserError(
        f"units = {unknown!r}: the network has no such units or modules.\n{nearest}\n"
        f"  allowed: {', '.join(unit.name for unit in units)}, or modules made of these"
    )


def _nearest(name: str, units: Sequence[Unit]) -> list[str]:
    """Return the nearest of the names of the units and of the modules around them."""
    names = [unit.name for unit in units]
    around = {
        ".".join(parts[:end]) for parts in (each.split(".") for each in names) for end in range(1, len(parts))
    }
    return difflib.get_close_matches(name, sorted({*around, *names}), n=5, cutoff=0.4)
