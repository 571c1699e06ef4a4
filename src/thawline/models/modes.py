"""Evaluation mode for some units of a network while the others train.

A module is not always one unit's own: a network may call one dropout layer everywhere, or ask for its own
mode between two layers. So a mode is held in two places: at modules that only frozen units use, and at
steps of the graph, which are told that they do not train.
"""

import dataclasses
from collections.abc import Collection, Iterable, Iterator

from torch import fx, nn

from thawline.models.cuts import Division

_MODE = "training"
_TWIN = "_while_frozen"


def frozen_modules(whole: Division, frozen: Collection[int], depth: int) -> frozenset[str]:
    """Return the module paths that, from the cut at `depth` on, only units with the indices `frozen` use."""
    still = set(_steps(whole, frozen, depth))
    return _used(whole, still) - _used(whole, _others(whole, still, depth))


def told_to_evaluate(
    whole: Division, frozen: Collection[int], depth: int, moving: Collection[str]
) -> tuple[Division, frozenset[str]]:
    """Return `whole` with the steps of the units `frozen` from `depth` on in evaluation mode, and the paths
    of the modules that came to be for it.

    A step that reads its module's mode reads False, unless the module is one of `moving`. A module that
    other steps call too, and that has no tensors (dropout), is called under a path of its own, so that
    the two can be in different modes. The steps of `whole` itself are changed.
    """
    still = set(_steps(whole, frozen, depth))
    shared = _used(whole, _others(whole, still, depth))
    twins: dict[str, nn.Module] = {}
    network = whole.trace.network
    for node in still:
        node.args = fx.map_arg(node.args, lambda value: _without_mode(value, moving))
        node.kwargs = fx.map_arg(node.kwargs, lambda value: _without_mode(value, moving))
        if node.op == "call_module" and node.target in shared:
            module = network.get_submodule(str(node.target))
            if not [*module.parameters(), *module.buffers()]:
                node.target = f"{node.target}{_TWIN}"
                twins[node.target] = module
    told = dataclasses.replace(whole.trace, constants=whole.trace.constants | twins)
    paths = (path for target, module in twins.items() for path in _inside(target, module))
    return dataclasses.replace(whole, trace=told), frozenset(paths)


def _steps(whole: Division, units: Collection[int], depth: int) -> Iterator[fx.Node]:
    """Yield the steps of these units from `depth` on, in the graph of either mode."""
    for index in sorted(units):
        if index >= depth:
            for node in whole.nodes[whole.positions[index] + 1 : whole.positions[index + 1] + 1]:
                yield node
                if node in whole.trace.twins:
                    yield whole.trace.twins[node]


def _others(whole: Division, still: Collection[fx.Node], depth: int) -> Iterator[fx.Node]:
    """Yield all other steps that are not before the cut at `depth`."""
    before = set(_steps(whole, range(depth), 0))
    graphs = [whole.trace.main, *([whole.trace.training] if whole.trace.training else [])]
    for graph in graphs:
        for node in graph.nodes:
            if node not in still and node not in before and node.op != "get_attr":
                yield node


def _used(whole: Division, nodes: Iterable[fx.Node]) -> frozenset[str]:
    """Return the paths of the modules these steps call or read, of all around and all inside of them."""
    paths = set()
    for node in nodes:
        if node.op == "call_module":
            target = str(node.target)
            paths |= _inside(target, whole.trace.network.get_submodule(target)) | _around(target)
        for source in node.all_input_nodes:
            if source.op == "get_attr":
                paths |= _around(str(source.target))
    return frozenset(paths)


def _inside(path: str, module: nn.Module) -> set[str]:
    return {f"{path}.{inner}".rstrip(".") for inner, _ in module.named_modules()}


def _around(path: str) -> set[str]:
    parts = path.split(".")
    return {".".join(parts[:length]) for length in range(len(parts))}


def _without_mode(value: fx.Node, moving: Collection[str]) -> fx.Node | bool:
    owner, _, name = str(value.target).rpartition(".")
    return False if value.op == "get_attr" and name == _MODE and owner not in moving else value
