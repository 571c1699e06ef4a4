"""BatchNorm as a part of the convolution before it: the same network but for rounding, and faster."""

from collections import Counter

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

_OF_TIMM = ("BatchNormAct2d", "Conv2dSame")
"""Classes of timm that compute what those of PyTorch do; the first one then calls its `drop` and `act`."""


def folded(side: nn.Module) -> nn.Module:
    """Return what computes as `side` does in evaluation mode, with BatchNorm layers as part of the
    convolutions before them where its steps are known (Jacob et al. 2018, Quantization and training of neural
    networks, section 3.2). It shares all other layers, and is `side` itself where nothing can be folded."""
    if not isinstance(side, fx.GraphModule) or not (pairs := _pairs(side)):
        return side
    graph, twins = fx.Graph(), dict[fx.Node, fx.Node]()
    steps: fx.Graph = side.graph
    graph.output(graph.graph_copy(steps, twins))
    found = fx.GraphModule(side, graph, type(side).__name__)
    for before, node in pairs:
        kernel, norm = _layer(side, before), _layer(side, node)
        assert isinstance(kernel, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        found.set_submodule(str(before.target), fuse_conv_bn_eval(kernel, norm))
        if type(norm) is nn.BatchNorm2d:
            twins[node].replace_all_uses_with(twins[before])
            graph.erase_node(twins[node])
        else:
            after = nn.Sequential(norm.get_submodule("drop"), norm.get_submodule("act"))
            found.set_submodule(str(node.target), after)
    found.delete_all_unused_submodules()
    found.recompile()
    return found


def _pairs(side: fx.GraphModule) -> list[tuple[fx.Node, fx.Node]]:
    """List the steps of a convolution and of a BatchNorm layer that alone reads what it makes."""
    calls = [node for node in side.graph.nodes if node.op == "call_module"]
    used = Counter(str(node.target) for node in calls)
    read = {str(node.target).rpartition(".")[0] for node in side.graph.nodes if node.op == "get_attr"}

    def alone(node: fx.Node) -> bool:
        # what is called twice, or whose tensors something else reads, cannot be changed for one of the two
        return used[str(node.target)] == 1 and str(node.target) not in read

    found = []
    for node in calls:
        before = node.args[0] if len(node.args) == 1 else None
        if not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) > 1:
            continue
        if alone(before) and alone(node) and _foldable(_layer(side, before), _layer(side, node)):
            found.append((before, node))
    return found


def _layer(side: fx.GraphModule, node: fx.Node) -> nn.Module:
    return side.get_submodule(str(node.target))


def _foldable(kernel: nn.Module, norm: nn.Module) -> bool:
    known = _is(kernel, nn.Conv2d) and _is(norm, nn.BatchNorm2d)
    return known and not kernel.training and not norm.training and norm.running_mean is not None


def _is(layer: nn.Module, kind: type[nn.Module]) -> bool:
    """Tell whether a layer computes what `kind` does: a class of one's own, or a hook, may do otherwise."""
    cls = type(layer)
    of_timm = cls.__module__.startswith("timm.") and cls.__name__ in _OF_TIMM
    hooks = layer._forward_hooks or layer._forward_pre_hooks
    return not hooks and (cls is kind or (of_timm and issubclass(cls, kind)))
