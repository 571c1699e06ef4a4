"""How a frozen prefix is computed, and how it is computed fastest."""

import copy
from collections import Counter
from collections.abc import Callable

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from thawline.config.sections import Trainer
from thawline.models.convolution import quicken
from thawline.models.freezing import PartlyFrozen
from thawline.models.layout import lay_out, may_be_channels_last
from thawline.training.fit import precision


def features_of(held: PartlyFrozen, images: torch.Tensor, settings: Trainer) -> torch.Tensor:
    """What the prefix makes of `(b, …)` images, in the precision of a training.

    Raises `UserError` when the network does not keep pictures apart at this depth.
    """
    return computed(held.features, images, settings, may_be_channels_last(held))


@torch.no_grad()
def computed(
    function: Callable[[torch.Tensor], torch.Tensor],
    given: torch.Tensor,
    settings: Trainer,
    channels_last: bool,
) -> torch.Tensor:
    """`function(given)` without gradient and in the precision of a training."""
    if given.dim() == 4 and channels_last:
        # faster in this layout (benchmarks/ingredients.py)
        given = given.contiguous(memory_format=torch.channels_last)
    with torch.autocast(given.device.type, torch.bfloat16, enabled=precision(settings) == "bf16-mixed"):
        return function(given)


def quick(side: nn.Module, *, fold: bool = True, channels_last: bool = True) -> nn.Module:
    """A copy of a frozen `side` of a network that gives the same but for rounding, faster.

    fold: make each BatchNorm layer part of the convolution before it (Jacob et al. 2018, Quantization and
    training of neural networks, section 3.2); not for low precision, where the folded kernel is rounded
    elsewhere. channels_last: let kernels lie with their channels last.
    """
    side = copy.deepcopy(side).eval()
    if fold and isinstance(side, fx.GraphModule):
        _fold(side)
    if channels_last:
        lay_out(side, torch.channels_last)
    quicken(side)
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
            node.replace_all_uses_with(before)
            side.graph.erase_node(node)
    side.recompile()


def _foldable(kernel: nn.Module, norm: nn.Module) -> bool:
    # a class of their own may compute something else
    if type(kernel) is not nn.Conv2d or type(norm) is not nn.BatchNorm2d:
        return False
    return norm.running_mean is not None
