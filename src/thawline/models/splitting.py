"""The two functions either side of a cut, as modules that share the network's tensors."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import fx, nn

from thawline.config.errors import UserError
from thawline.models.cuts import Division, batch_sizes, divide
from thawline.models.tracing import output_of, results_of


def split(network: nn.Module, depth: int) -> tuple[nn.Module, nn.Module]:
    """Return the prefix (the first `depth` units) and suffix (the rest and the head) of `network`.

    `suffix(prefix(x)) == network(x)` exactly. Both share the network's parameters and layers, under
    the same names, and never change what they are given. Call `.train()` and `.eval()` on them, not
    on the network. While training, a network with auxiliary heads returns a tuple: see `logits_of`;
    the suffix returns those auxiliary logits that can be computed from what the prefix hands over.

    `depth` is from 0 (the prefix is the identity) to the number of units (the suffix is the head and
    what leads to it without weights). Raises `ValueError` outside that range.
    """
    if depth == 0:
        return nn.Identity(), network
    whole = divide(network)
    return part(whole, 0, depth), part(whole, depth)


def part(whole: Division, start: int, stop: int | None = None) -> nn.Module:
    """Return the part of a network from the cut at depth `start` to the one at `stop`; None: to the end.

    Raises `ValueError` unless 0 <= start <= stop <= the number of units, and where the part would need what a
    head on several cuts reads before `start`.
    """
    deepest = len(whole.units)
    if not 0 <= start <= (deepest if stop is None else stop) <= deepest:
        raise ValueError(f"no part from depth {start} to {stop}: depths go from 0 to {deepest}")
    if start == stop:
        return nn.Identity()
    if stop in (None, deepest) and whole.divisible(start) < start:
        raise ValueError(f"the head reads cuts before depth {start}: depths go to {whole.divisible(start)}")
    if start == 0 and stop is None:
        return whole.trace.network
    return rest(whole, start) if stop is None else _module(whole, _stretch(whole, start, stop))


def rest(whole: Division, start: int) -> nn.Module:
    """Return the part from the cut at depth `start` to the end, made from the steps of `whole` even
    where it is everything."""
    main, training = _ways(whole, start)
    if training is None:
        return _module(whole, main)
    # Reading them, if only that, makes fx provide what the other way needs.
    with training.inserting_before(next(reversed(training.nodes))):
        for target in sorted(_targets(main) - _targets(training)):
            training.create_node("get_attr", target)
    return _ByMode(_module(whole, main), _module(whole, training))


def held_by_rest(whole: Division, start: int) -> tuple[list[nn.Module], list[nn.Parameter]]:
    """Return the network's layers and parameters that its `rest` from the cut at depth `start` holds, without
    making that module."""
    targets = set().union(*(_targets(way) for way in _ways(whole, start) if way is not None))
    values = [whole.trace.value(target) for target in targets]
    modules = [module for value in values if isinstance(value, nn.Module) for module in value.modules()]
    of_modules = (parameter for module in modules for parameter in module.parameters(recurse=False))
    return modules, [*of_modules, *(value for value in values if isinstance(value, nn.Parameter))]


def require_rows(features: Any, pictures: torch.Tensor) -> None:
    """Raise `UserError` unless `features`, a prefix's output, has one row for each of `pictures`."""
    if not isinstance(features, torch.Tensor) or len(features) != len(pictures):
        shape = tuple(features.shape) if isinstance(features, torch.Tensor) else type(features).__name__
        raise UserError(
            f"The frozen part hands over {shape} for {len(pictures)} pictures, not one row per picture: at "
            "this depth the network mixes pictures or splits them.\n  Choose another depth."
        )


def _ways(whole: Division, start: int) -> tuple[fx.Graph, fx.Graph | None]:
    """Return the steps from the cut at depth `start` to the end, and those while training where more are."""
    main, training = _stretch(whole, start, None), whole.trace.training
    return main, None if training is None else _training_stretch(whole, training, start)


def _stretch(whole: Division, start: int, stop: int | None) -> fx.Graph:
    end = len(whole.nodes) if stop is None else whole.positions[stop] + 1
    result = output_of(whole.trace.main) if stop is None else whole.alive[stop]
    builder = _Builder(whole.alive[start], batch_sizes(whole.nodes), clone=start > 0)
    needed = whole.nodes[whole.positions[start] + 1 : end]
    inner = stop is not None and stop < len(whole.units)
    builder.add([node for node in needed if not (inner and node in whole.taps)])
    return builder.finish(builder.known[result])


def _training_stretch(whole: Division, training: fx.Graph, start: int) -> fx.Graph:
    """Copy the steps from a cut to the logits and to every auxiliary head that reads nothing before it."""
    nodes, twins = list(training.nodes), whole.trace.twins
    builder = _Builder(twins[whole.alive[start]], batch_sizes(nodes), clone=start > 0)
    # The twin of the cut's last step, not of its tensor: a step in between may write to the tensor.
    last = next(node for node in reversed(whole.nodes[: whole.positions[start] + 1]) if node in twins)
    builder.add(nodes[nodes.index(twins[last]) + 1 :])
    results = [builder.known[node] for node in results_of(training) if node in builder.known]
    return builder.finish(tuple(results) if len(results) > 1 else results[0])


def _targets(graph: fx.Graph) -> set[str]:
    return {str(node.target) for node in graph.nodes if node.op in ("call_module", "get_attr")}


class _Builder:
    """A new graph whose input is the value of `source`, filled with copies of steps."""

    def __init__(self, source: fx.Node, batch_sizes: frozenset[fx.Node], clone: bool) -> None:
        self.graph = fx.Graph()
        self.batch_sizes = batch_sizes
        self.input = self.graph.placeholder("pictures" if not clone else "features")
        # The first layer may work in place, and what it is given may be stored for the next epoch.
        self.known = {source: self.graph.call_method("clone", (self.input,)) if clone else self.input}

    def add(self, nodes: Sequence[fx.Node]) -> None:
        """Copy those of the steps that can be computed from the input."""
        for node in nodes:
            if node.op in ("get_attr", "output", "placeholder"):
                continue
            if all(source in self.known or self._anywhere(source) for source in node.all_input_nodes):
                self.known[node] = self.graph.node_copy(node, self._copy_of)

    def finish(self, result: Any) -> fx.Graph:
        self.graph.output(result)
        return self.graph

    def _anywhere(self, node: fx.Node) -> bool:
        return node.op == "get_attr" or node in self.batch_sizes

    def _copy_of(self, node: fx.Node) -> fx.Node:
        if node in self.known:
            return self.known[node]
        if node.op == "get_attr":
            return self.graph.node_copy(node)
        return self.graph.call_method("size", (self.input, 0))


def _module(whole: Division, graph: fx.Graph) -> fx.GraphModule:
    """Make the graph a module that holds the network's own layers and parameters."""
    trace = whole.trace
    attributes = {target: _own(trace.value(target)) for target in _targets(graph)}
    module = fx.GraphModule(attributes, graph, type(trace.network).__name__)
    originals = dict(trace.network.named_modules())
    for path, holder in module.named_modules():
        original = originals.get(path)
        if original is not None and holder is not original:
            holder.training = original.training
            temporary = original._non_persistent_buffers_set | trace.constants.keys()
            holder._non_persistent_buffers_set.update(temporary & holder._buffers.keys())
    return module


def share_again(side: nn.Module, network: nn.Module) -> None:
    """Let `side`, a part of `network`, refer to the network's tensors again after they were replaced."""
    originals = dict(network.named_modules())
    for path, holder in side.named_modules():
        original = originals.get(path)
        if original is not None and holder is not original:
            for ours, theirs in (
                (holder._parameters, original._parameters),
                (holder._buffers, original._buffers),
            ):
                ours.update({name: theirs[name] for name in ours.keys() & theirs.keys()})


def _own(value: Any) -> Any:
    """Copy a layer without tensors: it may be called on both sides, in different modes."""
    if not isinstance(value, nn.Module) or [*value.parameters(), *value.buffers()]:
        return value
    twin = copy.copy(value)
    twin.__dict__["_modules"] = {name: _own(child) for name, child in value.named_children()}
    return twin


class _ByMode(nn.Module):
    """One set of layers and two ways through them: with auxiliary heads while training, or without."""

    def __init__(self, main: fx.GraphModule, training: fx.GraphModule) -> None:
        super().__init__()
        for name, child in training.named_children():
            self.add_module(name, child)
        for name, parameter in training.named_parameters(recurse=False):
            self.register_parameter(name, parameter)
        for name, buffer in training.named_buffers(recurse=False):
            self.register_buffer(name, buffer, name not in training._non_persistent_buffers_set)
        self.training = training.training
        self._ways = (type(main).forward, type(training).forward)

    def forward(self, features: torch.Tensor) -> Any:
        return self._ways[self.training](self, features)
