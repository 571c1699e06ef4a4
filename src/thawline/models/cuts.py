"""The places where a network can be cut in two, and the units between the cuts.

Walking the data-flow graph in order, a cut is a place where exactly one tensor is alive: everything
after it depends on everything before it through that tensor only. No list of layers is needed, so
residual, dense, inception and transformer networks are cut by the same few rules.
"""

import operator
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from thawline.config.errors import UserError
from thawline.models.accounting import under
from thawline.models.steps import State, drops, is_tensor
from thawline.models.tracing import Tap, Trace, trace


@dataclass(frozen=True)
class Unit:
    """One step of the body: what is frozen or trained together.

    `parameters` and `buffers` are qualified names in the network.
    """

    index: int
    name: str
    parameters: tuple[str, ...]
    buffers: tuple[str, ...]


@dataclass(frozen=True)
class Division:
    """A traced network, its units, and the cut at each depth.

    `nodes[positions[depth]]` is the last step of the prefix at that depth and `alive[depth]` the step
    whose value crosses the cut. `head` is the path of the output layer. `taps` are the steps that read for
    a head on several cuts (`head_cuts`): none for a network's own head.
    """

    trace: Trace
    nodes: tuple[fx.Node, ...]
    units: tuple[Unit, ...]
    positions: tuple[int, ...]
    alive: tuple[fx.Node, ...]
    head: str
    taps: frozenset[fx.Node] = frozenset()

    def divisible(self, depth: int) -> int:
        """Return `depth`, or the deepest depth before it at which the network can be cut in two: behind the
        first cut that its head reads, two tensors are alive but at the very end."""
        if not self.taps or depth >= len(self.units):
            return min(depth, len(self.units))
        first = next(index for index, node in enumerate(self.nodes) if node in self.taps)
        return min(depth, max(at for at, position in enumerate(self.positions) if position < first))


def units(network: nn.Module) -> tuple[Unit, ...]:
    """Return the units of the body in the order the data passes them; the head is not among them.

    A unit holds the weights of at least one layer. What follows without weights of its own
    (normalisation, activation, pooling, a class token, positional embeddings) belongs to the unit
    before; what precedes the first one, to the first one. Weights that cannot be separated from the
    head by a cut belong to no unit: they are trained with it.

    Raises `UserError` when the network cannot be traced or has no output layer.
    """
    return divide(network).units


def head_name(network: nn.Module) -> str:
    """Return the module path of the output layer: the last step with the weights of a layer.

    Raises `UserError` when that step is not a module.
    """
    return divide(network).head


class _Remembered:
    """A division and what of the network it was made of. No copy of a network takes it along."""

    def __init__(self, made: Division, parts: list[tuple[str, object]]) -> None:
        self.made, self.parts = made, parts

    def __deepcopy__(self, _: dict[int, Any]) -> None:
        return None

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return type(None), ()

    def still_holds(self, parts: list[tuple[str, object]], replaced: Collection[str] = ()) -> bool:
        """Tell whether the network's parts are those it was made of, but for the modules at the paths
        `replaced`, in whose place are others with parts of the same names."""
        return len(parts) == len(self.parts) and all(
            name == former and (part is before or under(name, replaced))
            for (name, part), (former, before) in zip(parts, self.parts, strict=True)
        )

    def shares(self, paths: Collection[str]) -> bool:
        """Tell whether a part of a module at `paths` is one of another module, too."""
        inside, outside = (
            {id(part) for name, part in self.parts if part is not None and under(name, paths) is within}
            for within in (True, False)
        )
        return not inside.isdisjoint(outside)


_DIVISION = "_thawline_division"


def divide(network: nn.Module) -> Division:
    """Return the division of `network`, made once for as long as it has the same modules and tensors."""
    parts = _parts(network)
    remembered = network.__dict__.get(_DIVISION)
    if remembered is None or not remembered.still_holds(parts):
        remembered = _Remembered(divide_anew(network), parts)
        network.__dict__[_DIVISION] = remembered
    made: Division = remembered.made
    return made


def keep_division(network: nn.Module, replaced: Collection[str]) -> None:
    """Spare `network` being divided anew after the modules at the paths `replaced`, each one step, were
    replaced by others of their kind and size: no step and no name has changed."""
    remembered, parts = network.__dict__.get(_DIVISION), _parts(network)
    if remembered is not None and remembered.still_holds(parts, replaced) and not remembered.shares(replaced):
        network.__dict__[_DIVISION] = _Remembered(remembered.made, parts)


def _parts(network: nn.Module) -> list[tuple[str, object]]:
    return [
        *network.named_modules(remove_duplicate=False),
        *network.named_parameters(remove_duplicate=False),
        *((name, None) for name, _ in network.named_buffers(remove_duplicate=False)),
    ]


def divide_anew(network: nn.Module) -> Division:
    """Trace `network`, cut it and group its steps into units; takes time proportional to their number.

    Nothing is run. Raises `UserError` when the network cannot be traced or has no output layer.
    """
    traced = trace(network)
    nodes = tuple(traced.main.nodes)
    state = State(traced)
    taps = frozenset(
        node for node in nodes if node.op == "call_module" and isinstance(state.module(node), Tap)
    )
    head = _head(traced, nodes, state)
    body_end = nodes.index(head)
    cuts = {0: nodes[0], **{at: node for at, node in cuts_of(nodes, state, taps) if at < body_end}}
    groups = _groups(nodes, sorted(cuts), state)
    positions = (0, *(group[-1] for group in groups))
    return Division(
        trace=traced,
        nodes=nodes,
        units=_units(nodes, positions, state),
        positions=positions,
        alive=tuple(cuts[position] for position in positions),
        head=str(head.target),
        taps=taps,
    )


def _head(traced: Trace, nodes: tuple[fx.Node, ...], state: State) -> fx.Node:
    head = next((node for node in reversed(nodes) if state.weighs(node)), None)
    if head is None or head.op != "call_module":
        raise UserError(
            f"{type(traced.network).__name__} has no output layer that can be replaced: the last step "
            f"with weights is {'missing' if head is None else repr(str(head.target))}, not a module.\n"
            "  Let the network end in a module such as torch.nn.Linear."
        )
    return head


def batch_sizes(nodes: Sequence[fx.Node]) -> frozenset[fx.Node]:
    """Find the steps that only say how many pictures came in, which every cut tensor says too."""
    found = set()
    for node in nodes[0].users:
        if node.target == "size" and node.args[1:] == (0,):
            found.add(node)
        elif node.args[1:] == (() if node.target == "size" else ("shape",)):
            found |= {user for user in node.users if user.target is operator.getitem and user.args[1] == 0}
    return frozenset(found)


def cuts_of(
    nodes: tuple[fx.Node, ...], state: State, taps: Collection[fx.Node] = ()
) -> Iterator[tuple[int, fx.Node]]:
    """Yield every position after which one tensor is alive, with the step that made the tensor. What `taps`
    read and hand on does not count."""
    index = {node: position for position, node in enumerate(nodes)}
    uncounted = batch_sizes(nodes) | frozenset(taps)
    last = {node: _last_use(node, index, uncounted) for node in nodes}
    shared = _last_uses_of_state(nodes, state)
    alive: set[fx.Node] = set()
    blocked_until = 0
    for position, node in enumerate(nodes):
        if last[node] > position:
            alive.add(node)
        alive -= {other for other in node.all_input_nodes if last[other] <= position}
        blocked_until = max([blocked_until, *(shared[name] for name in state.of(node))])
        if position >= blocked_until and len(alive) == 1 and node not in uncounted:
            (only,) = alive
            if is_tensor(only):
                yield position, only


def _last_use(node: fx.Node, index: dict[fx.Node, int], uncounted: frozenset[fx.Node]) -> int:
    # State is not alive: either side reads it where it is. Neither is the number of pictures.
    if node.op == "get_attr" or node in uncounted:
        return -1
    return max((index[user] for user in node.users if user not in uncounted), default=-1)


def _last_uses_of_state(nodes: tuple[fx.Node, ...], state: State) -> dict[str, int]:
    # A parameter used on both sides of a cut would be frozen and trained at once.
    return {name: position for position, node in enumerate(nodes) for name in state.of(node)}


def _groups(nodes: tuple[fx.Node, ...], cuts: list[int], state: State) -> list[list[int]]:
    """Group the cuts by the unit they end a stretch of: of each group, the last one ends the unit."""
    groups: list[list[int]] = []
    for begin, end in zip(cuts, cuts[1:], strict=False):
        stretch = nodes[begin + 1 : end + 1]
        if any(state.weighs(node) for node in stretch):
            groups.append([end])
        elif groups:
            groups[-1].append(end)
    return [_before_dropout(nodes, group, state) for group in groups]


def _before_dropout(nodes: tuple[fx.Node, ...], group: list[int], state: State) -> list[int]:
    """Leave dropout on the side of the layer that reads its output, which it regularises."""
    for here, (begin, end) in enumerate(zip(group, group[1:], strict=False)):
        rest = nodes[begin + 1 : group[-1] + 1]
        if any(drops(node, state) for node in nodes[begin + 1 : end + 1]) and not any(map(state.of, rest)):
            return group[: here + 1]
    return group


def _units(nodes: tuple[fx.Node, ...], positions: tuple[int, ...], state: State) -> tuple[Unit, ...]:
    found = []
    for index, (begin, end) in enumerate(zip(positions, positions[1:], strict=False)):
        stretch = nodes[begin + 1 : end + 1]
        used = dict.fromkeys(name for node in stretch for name in state.of(node))
        parameters = tuple(name for name in used if name in state.parameters)
        buffers = tuple(name for name in used if name in state.buffers)
        weight = next(state.weight(node) for node in stretch if state.weighs(node))
        found.append(Unit(index, _name(str(weight), set(parameters), state), parameters, buffers))
    return tuple(found)


def _name(weight: str, parameters: set[str], state: State) -> str:
    """Return the outermost module that holds `weight` and nothing from outside the unit."""
    name = weight
    while (parent := name.rpartition(".")[0]) and state.owned[parent] <= parameters:
        name = parent
    return name


def logits_of(output: Any) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """Return the logits, and those of the auxiliary heads, from the output of a network or a suffix.

    Auxiliary logits exist only while training, and only for networks that have auxiliary heads.
    """
    if isinstance(output, torch.Tensor):
        return output, ()
    values = output.values() if isinstance(output, dict) else output
    main, *auxiliary = [value for value in values if value is not None]
    return main, tuple(auxiliary)
