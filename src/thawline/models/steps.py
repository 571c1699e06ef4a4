"""The kinds of steps of a traced network: a layer with weights, a normalisation, dropout, a size."""

import itertools
import operator
from collections import defaultdict

from torch import fx, nn
from torch.nn.modules import batchnorm, dropout, instancenorm, normalization

from thawline.models.tracing import Added, Trace

NORMALISATIONS = (
    batchnorm._NormBase,
    instancenorm._InstanceNorm,
    normalization.LayerNorm,
    normalization.GroupNorm,
    normalization.RMSNorm,
)
_NORMALISATION_FUNCTIONS = {"batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm"}
# Steps that put a bare parameter (class token, positional embedding, layer scale) beside or on top of
# what flows: the parameter is not the weight of a layer.
_JOINS = {"add", "iadd", "add_", "sub", "mul", "imul", "mul_", "div", "truediv", "cat", "concat", "stack"}
_TUPLES = {"chunk", "split", "tensor_split", "unbind"}


class State:
    """The parameters and buffers that each step uses, by their names in the network."""

    def __init__(self, traced: Trace) -> None:
        self.trace = traced
        self.parameters = dict(traced.network.named_parameters())
        self.buffers = dict(traced.network.named_buffers())
        self.owned = defaultdict(set)
        for name in self.parameters:
            for end in [index for index, letter in enumerate(name) if letter == "."]:
                self.owned[name[:end]].add(name)
        self._of: dict[fx.Node, list[str]] = {}
        self._names = {id(tensor): name for name, tensor in (self.parameters | self.buffers).items()}
        # Steps that no picture reaches, such as a reshaped weight, and the state they are made from.
        self._derived: dict[fx.Node, list[str]] = {}
        for node in traced.main.nodes:
            if _is_size(node) or (
                node.op in ("call_module", "call_function", "call_method")
                and all(source.op == "get_attr" or source in self._derived for source in node.all_input_nodes)
            ):
                self._derived[node] = self._reached(node)

    def of(self, node: fx.Node) -> list[str]:
        """Return the names of what the step reads itself."""
        if node not in self._of:  # it is asked several times, and the search takes a while
            self._of[node] = self._searched(node)
        return self._of[node]

    def _searched(self, node: fx.Node) -> list[str]:
        if node.op == "call_module":
            module = self.module(node)
            return [self._names[id(tensor)] for tensor in [*module.parameters(), *module.buffers()]]
        return [name for name in _read(node) if name in self.parameters or name in self.buffers]

    def module(self, node: fx.Node) -> nn.Module:
        """Return the layer that a `call_module` step calls."""
        return self.trace.network.get_submodule(str(node.target))

    def weighs(self, node: fx.Node) -> bool:
        """Return True when the step has the weights of a layer, not only scales, shifts or tokens."""
        if node in self._derived:
            return False
        if node.op == "call_module":
            minor = isinstance(self.module(node), (*NORMALISATIONS, Added))
        else:
            minor = _operation(node) in _JOINS | _NORMALISATION_FUNCTIONS
        return not minor and self.weight(node) is not None

    def weight(self, node: fx.Node) -> str | None:
        """Return the first parameter with two dimensions or more that the step reads or is given."""
        matrices = (name for name in self._reached(node) if name in self.parameters)
        return next((name for name in matrices if self.parameters[name].dim() >= 2), None)

    def _reached(self, node: fx.Node) -> list[str]:
        given = (self._derived.get(source, []) for source in node.all_input_nodes)
        return [*self.of(node), *itertools.chain.from_iterable(given)]


def _read(node: fx.Node) -> list[str]:
    return [str(source.target) for source in node.all_input_nodes if source.op == "get_attr"]


def _operation(node: fx.Node) -> str:
    return getattr(node.target, "__name__", str(node.target))


def _is_size(node: fx.Node) -> bool:
    if node.target is getattr:
        return node.args[1] in ("shape", "ndim", "dtype", "device")
    return node.op == "call_method" and node.target in ("size", "dim", "numel")


def is_tensor(node: fx.Node) -> bool:
    """Return False for sizes and for tuples, which are recognised by being indexed with one number."""
    indexed = any(user.target is operator.getitem and isinstance(user.args[1], int) for user in node.users)
    return not (indexed or _is_size(node) or _operation(node) in _TUPLES)


def drops(node: fx.Node, state: State) -> bool:
    """Return True for dropout, as a layer or as a function that is told the mode."""
    if node.op == "call_module":
        return isinstance(state.module(node), dropout._DropoutNd)
    return any(name.rpartition(".")[2] == "training" for name in _read(node))
