"""From a network to its data-flow graph, with everything that depends on the mode kept as a value.

The tracer is `torch.fx` (Reed et al., 2022, arXiv:2112.08429) with three differences:

* `module.training` is read by the graph when it runs; it is never frozen into a constant.
* A module whose code branches on a value (its mode, a shape) becomes one opaque step, not an error.
* Parameters and buffers are always named in the graph, so that a later load or move is seen.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.nn.modules.conv import _ConvNd

from thawline.config.errors import UserError

# How the names of constants begin that fx parks on the network: in evaluation and in training mode.
_CONSTANTS = ("_evaluation", "_training")


class Leaf:
    """A module that is one step of the graph, whatever it consists of."""


class Tap(Leaf, nn.Module):
    """A module that reads what passes a cut and hands it to a head, beside what flows on: it moves no cut."""


class Added(Leaf, nn.Module):
    """A module that was added to a network to adapt it: part of the unit it sits in or follows."""


@dataclass(frozen=True)
class Trace:
    """The data-flow graph of a network.

    `main` goes from the pictures to the logits. `training` is set only for networks that compute
    something else besides while training (auxiliary heads): the same steps and more; `twins` maps each
    step of `main` that the logits depend on to the same step of `training`. `constants` are what steps
    refer to that the network itself does not have.
    """

    network: nn.Module
    main: fx.Graph
    training: fx.Graph | None
    twins: dict[fx.Node, fx.Node]
    constants: dict[str, Any]

    def value(self, target: str) -> Any:
        """Return the module or tensor that a `call_module` or `get_attr` step of the graph refers to."""
        if target in self.constants:
            return self.constants[target]
        owner, _, name = target.rpartition(".")
        return getattr(self.network.get_submodule(owner), name)


def trace(network: nn.Module) -> Trace:
    """Return the graph of `network`, which is left as it was.

    Raises `UserError` when the outermost `forward` cannot be followed, returns something else than one
    tensor of logits in evaluation mode, or comes to the logits in another way while training.
    """
    evaluation = _Tracer(training=False)
    main = evaluation.follow(network)
    _check_output(network, main)
    if not evaluation.asked_for_mode:
        return Trace(network, main, None, {}, evaluation.constants)
    other = _Tracer(training=True)
    training = other.follow(network)
    twins = _twins(network, main, training)
    return Trace(network, main, training, twins, evaluation.constants | other.constants)


def _twins(network: nn.Module, main: fx.Graph, training: fx.Graph) -> dict[fx.Node, fx.Node]:
    ours = [node for node in needed(main, output_of(main)) if node.op != "get_attr"]
    logits = results_of(training)[:1]
    theirs = [node for result in logits for node in needed(training, result) if node.op != "get_attr"]
    twins = dict(zip(ours, theirs, strict=False))
    same = len(ours) == len(theirs) and all(
        (one.op, one.target, _state(one)) == (other.op, other.target, _state(other))
        and [twins[node] for node in _values(one)] == _values(other)
        for one, other in twins.items()
    )
    if not same:
        raise UserError(
            f"{type(network).__name__} computes its logits in another way while training than in evaluation "
            "mode, so it cannot be cut in two.\n  Choose another architecture."
        )
    return twins


def _state(node: fx.Node) -> list[str]:
    names = [str(source.target) for source in node.all_input_nodes if source.op == "get_attr"]
    return [name for name in names if not name.startswith(_CONSTANTS)]


def _values(node: fx.Node) -> list[fx.Node]:
    return [source for source in node.all_input_nodes if source.op != "get_attr"]


def _check_output(network: nn.Module, graph: fx.Graph) -> None:
    if not isinstance(output_of(graph), fx.Node):
        raise UserError(
            f"{type(network).__name__} returns {type(output_of(graph)).__name__} in evaluation mode.\n"
            "  thawline needs a classifier that returns one tensor: a row of logits per picture."
        )


def output_of(graph: fx.Graph) -> Any:
    """Return the result of the graph: a node, or a tuple or dictionary of nodes."""
    return next(reversed(graph.nodes)).args[0]


def results_of(graph: fx.Graph) -> list[fx.Node]:
    """Return the tensors of the graph's result; of a network with auxiliary heads, the logits first."""
    output = output_of(graph)
    if isinstance(output, fx.Node) and isinstance(output.target, type):
        output = output.args  # a named tuple is made by a step of its own
    results = list(output.values()) if isinstance(output, dict) else output
    return [node for node in (results if isinstance(results, Sequence) else [results]) if _is_node(node)]


def needed(graph: fx.Graph, result: fx.Node) -> list[fx.Node]:
    """Return the steps that `result` depends on, and itself, in order."""
    found = {result}
    for node in reversed(graph.nodes):
        if node in found:
            found.update(node.all_input_nodes)
    return [node for node in graph.nodes if node in found]


def _is_node(value: Any) -> bool:
    return isinstance(value, fx.Node)


class _Mode(fx.Proxy):
    """A module's `training` flag while its network is traced.

    It becomes a step of the graph each time it is used, so that an abandoned use leaves nothing behind.
    """

    def __init__(self, tracer: "_Tracer", path: str) -> None:
        self.tracer = tracer
        self.path = path

    @property
    def node(self) -> fx.Node:  # type: ignore[override]
        target = f"{self.path}.training" if self.path else "training"
        return self.tracer.create_node("get_attr", target, (), {})


class _Tracer(fx.Tracer):
    def __init__(self, training: bool) -> None:
        super().__init__()
        self.mode = training
        self.asked_for_mode = False
        self.constants: dict[str, torch.Tensor] = {}
        self._depth = 0

    def follow(self, network: nn.Module) -> fx.Graph:
        """Return the graph of `network` in this tracer's mode."""
        self._names = {
            id(tensor): name
            for named in (network.named_parameters, network.named_buffers)
            for name, tensor in named()
        }
        before = set(network.__dict__)
        try:
            with self._symbolic_modes(network):
                return self.trace(network)
        except Exception as error:
            raise UserError(
                f"{type(network).__name__} cannot be followed by torch.fx, so it has no cuts: {error}\n"
                "  Its own forward must not branch on the values or shapes of tensors; move such code "
                "into a sub-module, which is then kept whole."
            ) from error
        finally:
            # fx parks constants on the network itself.
            for name in set(network.__dict__) - before:
                self.constants[name] = network.__dict__.pop(name)

    @contextmanager
    def _symbolic_modes(self, network: nn.Module) -> Iterator[None]:
        modules = [(path, module.__dict__) for path, module in network.named_modules()]
        modes = [(path, state, state["training"]) for path, state in modules if "training" in state]
        try:
            for path, state, _ in modes:
                state["training"] = _Mode(self, path)
            yield
        finally:
            for _, state, training in modes:
                state["training"] = training

    def create_args_for_root(
        self,
        root_fn: Callable[..., Any],
        is_module: bool,  # noqa: ARG002
        concrete_args: Any = None,  # noqa: ARG002
    ) -> tuple[Any, list[Any]]:
        """Give the network one input, the pictures; every further argument keeps its default."""
        return root_fn, [self.root, self.create_proxy("placeholder", "pictures", (), {})]

    def get_fresh_qualname(self, prefix: str) -> str:
        # The graphs of the two modes are used together: their constants must not share names.
        return super().get_fresh_qualname(f"{_CONSTANTS[self.mode]}{prefix}")

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        # Subclasses of these live outside torch.nn, but are layers like them.
        return isinstance(m, Leaf | nn.Linear | _ConvNd) or super().is_leaf_module(m, module_qualified_name)

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        path = self.path_of_module(m)
        if not self.is_leaf_module(m, path):
            last = next(reversed(self.graph.nodes))
            self._depth += 1
            try:
                return forward(*args, **kwargs)
            except Exception:
                # Whatever went wrong, calling the module as a whole is right.
                self._forget_after(last)
            finally:
                self._depth -= 1
        return self.create_proxy("call_module", path, args, kwargs)

    def _forget_after(self, last: fx.Node) -> None:
        for node in reversed(self.graph.nodes):
            if node is last:
                return
            self.graph.erase_node(node)

    def getattr(
        self,
        attr: str,  # noqa: ARG002
        attr_val: Any,
        parameter_proxy_cache: dict[str, Any],  # noqa: ARG002
    ) -> Any:
        """Return a fresh proxy for each use: a cached one could have been forgotten meanwhile."""
        name = self._names.get(id(attr_val)) if isinstance(attr_val, torch.Tensor) else None
        return attr_val if name is None else self.create_proxy("get_attr", name, (), {})

    def to_bool(self, obj: fx.Proxy) -> bool:
        # The outermost forward cannot become an opaque step, so it is followed once per mode.
        if isinstance(obj, _Mode) and self._depth == 0:
            self.asked_for_mode = True
            return self.mode
        return super().to_bool(obj)
