"""BatchNorm as a part of the convolution before it: the same network but for rounding, and faster."""

import copy
from collections import Counter

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

_OF_TIMM = ("BatchNormAct2d", "Conv2dSame")
"""Classes of timm that compute what those of PyTorch do; the first one then calls its `drop` and `act`."""


def folded(side: nn.Module) -> nn.Module:
    """Return a copy of `side`, in evaluation mode, whose BatchNorm layers are part of the convolutions before
    them where its steps are known (Jacob et al. 2018, Quantization and training of neural networks, section
    3.2). Statistics are as they are now; its layers in training mode make no sense."""
    side = copy.deepcopy(side).eval()
    if isinstance(side, fx.GraphModule):
        _fold(side)
    return side


def _fold(side: fx.GraphModule) -> None:
    calls = [node for node in side.graph.nodes if node.op == "call_module"]
    used = Counter(str(node.target) for node in calls)
    for node in calls:
        before = node.args[0] if len(node.args) == 1 else None
        if not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) > 1:
            continue
        kernel, norm = (side.get_submodule(str(each.target)) for each in (before, node))
        # what is called twice cannot be changed for one of the two
        if _foldable(kernel, norm) and used[str(before.target)] == used[str(node.target)] == 1:
            assert isinstance(kernel, nn.Conv2d)
            assert isinstance(norm, nn.BatchNorm2d)
            side.set_submodule(str(before.target), fuse_conv_bn_eval(kernel, norm))
            if type(norm) is nn.BatchNorm2d:
                node.replace_all_uses_with(before)
                side.graph.erase_node(node)
            else:
                side.set_submodule(
                    str(node.target), nn.Sequential(norm.get_submodule("drop"), norm.get_submodule("act"))
                )
    side.delete_all_unused_submodules()
    side.recompile()


def _foldable(kernel: nn.Module, norm: nn.Module) -> bool:
    known = _is(kernel, nn.Conv2d) and _is(norm, nn.BatchNorm2d)
    return known and norm.running_mean is not None


def _is(layer: nn.Module, kind: type[nn.Module]) -> bool:
    """Tell whether a layer computes what `kind` does: a class of one's own may compute something else."""
    cls = type(layer)
    of_timm = cls.__module__.startswith("timm.") and cls.__name__ in _OF_TIMM
    return cls is kind or (of_timm and issubclass(cls, kind))
