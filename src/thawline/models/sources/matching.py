"""Which tensor of a file is which of a network: the whole body or nothing; a head only if it fits."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

import torch

from thawline.config.errors import UserError
from thawline.models.accounting import under

Tensors = Mapping[str, torch.Tensor]

_PREFIXES = ("module", "_orig_mod", "model", "net", "backbone", "encoder", "encoder_q")
"""What wrappers and training scripts put before every name, in any order."""
_COUNTERS = ("num_batches_tracked", "n_averaged", "total_ops", "total_params")
"""Numbers that count something: BatchNorm's and AveragedModel's batches, thop's operations and parameters."""
_SHOWN = 12


@dataclass(frozen=True)
class Match:
    """What of a file goes into a network.

    `tensors` has the network's names and kinds of number, `pairs` the names in the file by those in the
    network, `dropped` the names in the file that are not used, `prefix` what was taken off those that are.
    `classes` is the number of outputs of the file's head; None when it has none that fits.
    """

    tensors: dict[str, torch.Tensor]
    pairs: dict[str, str]
    dropped: tuple[str, ...]
    prefix: str
    classes: int | None


def by_name(
    given: Tensors, wanted: Tensors, heads: Collection[str], origin: str, ordered: bool = True
) -> Match:
    """Match the tensors of a file to those of a network by their names, without a prefix the file may have.

    Every tensor of the body (all but what is under the paths `heads`) must be there. Counters of batches may
    be missing; heads may have another number of outputs, which must be one for all, or be missing. Where the
    names do not fit, the error says whether the order would, if `ordered` (the file keeps an order).

    Raises `UserError` with sorted +/- lists when the body is not complete, and by name when the file has
    more than this body or several bodies.
    """
    found = {prefix: _under_prefix(given, prefix) for prefix in _prefixes(given)}
    lacking = {prefix: _lacking(names, given, wanted, heads) for prefix, names in found.items()}
    whole = [prefix for prefix, missing in lacking.items() if not missing]
    if len(whole) > 1:
        raise UserError(
            f"{origin} holds {len(whole)} networks that fit, under {', '.join(map(repr, whole))}.\n"
            "  Save the state dict of one of them."
        )
    prefix = whole[0] if whole else min(lacking, key=lambda each: len(lacking[each]))
    names, missing = found[prefix], lacking[prefix]
    unexpected = _more_than(names, wanted, heads) if whole else _without_place(names, given, wanted, heads)
    if missing or unexpected:
        raise UserError(
            f"{origin} does not fit the network (- missing, + unexpected):"
            + _listed("-", [f"{name} {tuple(wanted[name].shape)}" for name in missing])
            + _listed("+", [f"{names[name]} {tuple(given[names[name]].shape)}" for name in unexpected])
            + (_offer(given, wanted, heads) if ordered else "")
        )
    return replace(_matched(given, names, wanted, heads), prefix=prefix)


def by_order(given: Tensors, wanted: Tensors, heads: Collection[str], origin: str) -> Match:
    """Match the tensors of a file to those of a network by their order alone; their shapes must agree.

    Counters are left out of the comparison. The file may have heads of another size, or none.

    Raises `UserError` that names the first difference.
    """
    theirs, ours = ([name for name in each if not _counts(name)] for each in (given, wanted))
    body = [name for name in ours if not under(name, heads)]
    order = ours if len(theirs) == len(ours) else body
    if len(theirs) != len(order):
        raise UserError(
            f"{origin} has {len(theirs)} tensors, and the network {len(ours)}, {len(body)} of them in its "
            "body.\n  Matching by order needs the same number."
        )
    for their, our in zip(theirs, order, strict=True):
        if not _agree(given[their], wanted[our], head=under(our, heads)):
            raise UserError(
                f"{origin} has other shapes than the network: {their} {tuple(given[their].shape)} stands "
                f"where the network has {our} {tuple(wanted[our].shape)}."
            )
    counters = ([name for name in each if name.endswith(_COUNTERS[0])] for each in (given, wanted))
    their_counters, our_counters = counters
    pairs = dict(zip(order, theirs, strict=True))
    if len(their_counters) == len(our_counters):
        pairs |= dict(zip(our_counters, their_counters, strict=True))
    return _matched(given, pairs, wanted, heads)


def _matched(given: Tensors, names: Mapping[str, str], wanted: Tensors, heads: Collection[str]) -> Match:
    """Take what fits of `names`, the names in the file by those in the network."""
    pairs = {name: names[name] for name in wanted if name in names}
    head = [name for name in wanted if under(name, heads)]
    sizes = {given[pairs[name]].shape[:1] for name in head if name in pairs}
    fits = len(sizes) == 1 and all(
        name in pairs and _agree(given[pairs[name]], wanted[name], head=True) for name in head
    )
    if not fits:
        pairs = {name: theirs for name, theirs in pairs.items() if name not in head}
    return Match(
        tensors={name: given[theirs].to(wanted[name].dtype) for name, theirs in pairs.items()},
        pairs=pairs,
        dropped=tuple(sorted(given.keys() - pairs.values())),
        prefix="",
        classes=next(iter(sizes))[0] if fits else None,
    )


def _prefixes(given: Tensors) -> list[str]:
    """List every row of known words that names in the file begin with, the shortest first; "" is one."""
    return sorted({prefix for name in given for prefix in _leading(name)}, key=lambda each: (len(each), each))


def _leading(name: str) -> Iterator[str]:
    prefix = ""
    yield prefix
    *words, _ = name.split(".")
    for word in words:
        if word not in _PREFIXES:
            return
        prefix += f"{word}."
        yield prefix


def _under_prefix(given: Tensors, prefix: str) -> dict[str, str]:
    """Return the names in the file that begin with `prefix`, by what follows it."""
    return {name.removeprefix(prefix): name for name in given if name.startswith(prefix)}


def _lacking(names: Mapping[str, str], given: Tensors, wanted: Tensors, heads: Collection[str]) -> list[str]:
    """Return the names of the body of the network for which the file has nothing that fits."""
    return [
        name
        for name, tensor in wanted.items()
        if not (under(name, heads) or _counts(name))
        and not (name in names and _agree(given[names[name]], tensor))
    ]


def _more_than(names: Mapping[str, str], wanted: Tensors, heads: Collection[str]) -> list[str]:
    """Return what the file has beside the tensors of the body, in the body's own modules: it is of another
    network then, perhaps a larger one of the same family. Heads and what lies elsewhere do not matter."""
    modules = {name.partition(".")[0] for name in wanted if not under(name, heads)}
    return [
        name
        for name in names
        if name.partition(".")[0] in modules and not (name in wanted or _counts(name) or under(name, heads))
    ]


def _without_place(
    names: Mapping[str, str], given: Tensors, wanted: Tensors, heads: Collection[str]
) -> list[str]:
    return [
        name
        for name, theirs in names.items()
        if not (under(name, heads) or _counts(name))
        and not (name in wanted and _agree(given[theirs], wanted[name]))
    ]


def _offer(given: Tensors, wanted: Tensors, heads: Collection[str]) -> str:
    try:
        by_order(given, wanted, heads, "")
    except UserError:
        return ""
    return (
        "\n  It has the same shapes in the same order, under other names: if it is the same network, set "
        "source.match=order"
    )


def _agree(theirs: torch.Tensor, ours: torch.Tensor, head: bool = False) -> bool:
    """Tell if one tensor can stand for the other; those of heads may differ in their first dimension."""
    same_kind = theirs.is_floating_point() == ours.is_floating_point() and not theirs.is_complex()
    start = int(head)
    return same_kind and theirs.ndim == ours.ndim and theirs.shape[start:] == ours.shape[start:]


def _counts(name: str) -> bool:
    return name.rpartition(".")[2] in _COUNTERS


def _listed(sign: str, lines: list[str]) -> str:
    shown = sorted(lines)[:_SHOWN]
    more = [f"and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return "".join(f"\n  {sign} {line}" for line in shown + more)
