"""Putting steps of our own between those of a network."""

import types
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import fx, nn

from thawline.models.adapters.shapes import graph_module
from thawline.models.cuts import Division
from thawline.models.tracing import Trace

Given = tuple[fx.Node, ...]
"""A value, as a step in each of the network's ways of computing."""


def add_modules(network: nn.Module, name: str, modules: nn.Module) -> None:
    """Make `modules` a sub-module of `network` called `name`: where its weights are, of their type and in its
    mode."""
    like = next(tensor for tensor in network.parameters() if tensor.is_floating_point())
    network.add_module(name, modules.to(like.device, like.dtype).train(network.training))


class Rewriting:
    """Steps inserted from the front of a network to its end, in each of its ways of computing.

    `insert` them, then `install` them. What they call must be a sub-module of the network already.
    """

    def __init__(self, whole: Division) -> None:
        self.whole = whole
        self._ways = [_Way(whole.trace.main, {node: node for node in whole.nodes})]
        if whole.trace.training is not None:
            self._ways.append(_Way(whole.trace.training, whole.trace.twins))

    def insert(self, position: int, path: str, value: fx.Node, further: Given = ()) -> Given:
        """Behind `nodes[position]`, let the module at `path` make something else of `value`, for all
        later steps. Returns what the module is given, so that another one can be given it as a `further`
        argument."""
        before = self.whole.nodes[: position + 1]
        more: list[Given] = [(node,) for node in further] or [()] * len(self._ways)
        return tuple(
            way.insert(before, path, value, others) for way, others in zip(self._ways, more, strict=True)
        )

    def install(self) -> None:
        """Make the network compute what the steps say now."""
        install(self.whole.trace, [way.graph for way in self._ways])


def install(trace: Trace, graphs: Sequence[fx.Graph]) -> None:
    """Make the network of `trace` compute what its changed `graphs` say, one for each of its modes or one for
    both. It keeps its sub-modules and their names and gets a class of its own, derived from its old one."""
    ways = [_code(trace, graph) for graph in graphs]
    for name, value in trace.constants.items():
        if isinstance(value, torch.Tensor):
            trace.network.register_buffer(name, value, persistent=False)
        else:
            setattr(trace.network, name, value)
    old = type(trace.network)
    members = {"forward": ways[0] if len(ways) == 1 else _by_mode(*ways), "__module__": old.__module__}
    trace.network.__class__ = types.new_class(old.__name__, (old,), {}, lambda body: body.update(members))


class _Way:
    """One graph of the network, and what of it stands for each step of the main one."""

    def __init__(self, graph: fx.Graph, twins: dict[fx.Node, fx.Node]) -> None:
        self.graph = graph
        self.twins = twins
        self.order = {node: position for position, node in enumerate(graph.nodes)}
        # What later steps read in place of a value, and the last step inserted behind another one.
        self.current: dict[fx.Node, fx.Node] = {}
        self.last: dict[fx.Node, fx.Node] = {}

    def insert(self, before: tuple[fx.Node, ...], path: str, value: fx.Node, others: Given) -> fx.Node:
        step = self.twins[next(node for node in reversed(before) if node in self.twins)]
        value = self.twins[value]
        source = self.current.get(value, value)
        with self.graph.inserting_after(self.last.get(step, step)):
            new = self.graph.call_module(path, (source, *others))
        for user in [*source.users]:
            if self.order.get(user, -1) > self.order[step]:
                user.replace_input_with(source, new)
        self.current[value], self.last[step] = new, new
        return source


def _code(trace: Trace, graph: fx.Graph) -> Callable[..., Any]:
    graph.lint()
    code: Callable[..., Any] = type(graph_module(trace, graph)).forward
    return code


def _by_mode(main: Callable[..., Any], training: Callable[..., Any]) -> Callable[..., Any]:
    def forward(self: nn.Module, pictures: torch.Tensor) -> Any:
        if self.training:
            return training(self, pictures)
        return main(self, pictures)

    return forward
