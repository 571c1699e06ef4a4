"""Head replacement: the body is copied, the output layer starts anew."""

import copy
from collections.abc import Callable
from typing import cast

from torch import nn
from torch.nn.modules.conv import _ConvNd

from thawline.config.choices import HeadVariant
from thawline.config.errors import UserError
from thawline.models.accounting import account
from thawline.models.cuts import Division, divide, head_name, keep_division
from thawline.models.randomness import own_randomness
from thawline.models.steps import State
from thawline.models.thawing import thaw
from thawline.models.tracing import Leaf, needed, results_of

_DROPOUT = 0.2


class Head(Leaf, nn.Sequential):
    """An output layer and what is trained with it, counted as one."""

    def __init__(self, variant: HeadVariant, *layers: nn.Module) -> None:
        super().__init__(*layers)
        self.variant = variant


def replace_head(
    network: nn.Module, classes: int, seed: int, variant: HeadVariant = HeadVariant.linear
) -> tuple[nn.Module, dict[str, list[str]]]:
    """Return a copy of `network` with a new head for `classes` classes, and where each tensor came from.

    The head is replaced even when the number of classes stays the same, and so are auxiliary heads.
    `linear` is one layer of the old one's kind, `dropout_linear` puts dropout (0.2) before it, `mlp` a
    layer as wide as its input and a GELU. Layers are initialised as PyTorch does by default, decided by
    `seed` alone, and the output's bias is 0. `network` and the global generator stay as they are.

    Raises `UserError` when the output layer is neither linear nor a convolution.
    """
    target = copy.deepcopy(network)
    thaw(target)
    heads = attach_heads(target, classes, variant, seed)
    return target, account(network.state_dict(), target.state_dict(), heads)


def head_names(network: nn.Module) -> tuple[str, ...]:
    """Return the output layer's module path, then those of the auxiliary heads' output layers.

    Raises `UserError` when several layers make up the output together.
    """
    whole = divide(network)
    state = State(whole.trace)
    _require_one_output_layer(whole, state)
    training = whole.trace.training
    if training is None:
        return (whole.head,)
    main, *auxiliary = (needed(training, result) for result in results_of(training))
    branches = ([node for node in branch if node not in set(main)] for branch in auxiliary)
    layers = ([node for node in branch if state.weighs(node)] for branch in branches)
    return (whole.head, *(str(steps[-1].target) for steps in layers if steps))


def _require_one_output_layer(whole: Division, state: State) -> None:
    steps = [node for node in whole.nodes[whole.positions[-1] + 1 :] if state.weighs(node)]
    beside = set(steps[:-1]) - set(needed(whole.trace.main, steps[-1]))
    if beside:
        paths = ", ".join(sorted(str(node.target) for node in beside | {steps[-1]}))
        raise UserError(
            f"{type(whole.trace.network).__name__} has several output layers ({paths}), so its head cannot "
            "be replaced.\n  Choose another architecture."
        )


def attach_heads(
    network: nn.Module, classes: int, variant: HeadVariant = HeadVariant.linear, seed: int = 0
) -> tuple[str, ...]:
    """Put new heads into `network` itself and return the module paths of all of them."""
    main, *auxiliary = head_names(network)
    with own_randomness(seed):
        replaced = _replace(network, main, classes, variant)
        for path in auxiliary:
            replaced += _replace(network, path, classes, HeadVariant.linear)
    return tuple(replaced)


def with_fresh_head(network: nn.Module, seed: int) -> nn.Module:
    """Initialise the heads of `network` itself anew, as `replace_head` would with this `seed`; return it."""
    head = network.get_submodule(head_name(network))
    variant = head.variant if isinstance(head, Head) else HeadVariant.linear
    keep_division(network, attach_heads(network, len(_layers(head)[-1].weight), variant, seed))
    return network


def put_linear_head(network: nn.Module, path: str, width: int, seed: int) -> None:
    """Put a head of as many classes into `network` at `path`, of the same variant, but for features (B,
    `width`): what was a convolution becomes a linear layer."""
    old = network.get_submodule(path)
    variant = old.variant if isinstance(old, Head) else HeadVariant.linear
    with own_randomness(seed):
        _replace(network, path, len(_layers(old)[-1].weight), variant, width)


def head_parameters(network: nn.Module) -> set[str]:
    """Return the names of the parameters of the head and of the auxiliary heads."""
    heads = [(path, network.get_submodule(path)) for path in head_names(network)]
    return {f"{path}.{name}" for path, head in heads for name, _ in head.named_parameters()}


def _replace(
    network: nn.Module, path: str, classes: int, variant: HeadVariant, width: int | None = None
) -> list[str]:
    """Put a new head at `path` and return every path it has: one layer may go by several names."""
    old = network.get_submodule(path)
    weight = next(old.parameters())
    new = _new_head(path, old, classes, variant, width).to(weight.device, weight.dtype).train(old.training)
    aliases = [alias for alias, module in network.named_modules(remove_duplicate=False) if module is old]
    for alias in aliases:
        parent, _, name = alias.rpartition(".")
        setattr(network.get_submodule(parent), name, new)
    return aliases


def _new_head(
    path: str, old: nn.Module, classes: int, variant: HeadVariant, width: int | None = None
) -> nn.Module:
    """Return a head of the kind of `old`, or a linear one for features (B, `width`)."""
    layers = _layers(old)
    if not layers or not isinstance(old, nn.Linear | _ConvNd | Head):
        raise UserError(
            f"The output layer {path!r} is a {type(old).__name__}, which cannot be replaced.\n"
            "  allowed: torch.nn.Linear or a convolution"
        )
    last = layers[-1] if width is None else nn.Linear(width, classes, bias=layers[-1].bias is not None)
    width = _inputs(layers[0]) if width is None else width
    output = _like(last, width, classes)
    _zero_bias(output)
    if variant is HeadVariant.linear:
        return output
    if variant is HeadVariant.dropout_linear:
        return Head(variant, nn.Dropout(_DROPOUT), output)
    return Head(variant, _like(last, width, width), nn.GELU(), output)


def _layers(head: nn.Module) -> list[nn.Linear | _ConvNd]:
    return [module for module in head.modules() if isinstance(module, nn.Linear | _ConvNd)]


def _zero_bias(layer: nn.Linear | _ConvNd) -> None:
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _inputs(layer: nn.Linear | _ConvNd) -> int:
    return layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels


def _like(old: nn.Linear | _ConvNd, inputs: int, outputs: int) -> nn.Linear | _ConvNd:
    """Make a layer of the same kind, initialised as PyTorch does by default."""
    bias = old.bias is not None
    if isinstance(old, nn.Linear):
        return nn.Linear(inputs, outputs, bias=bias)
    kind: type[_ConvNd] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[len(old.kernel_size) - 1]
    make = cast(Callable[..., _ConvNd], kind)
    return make(inputs, outputs, old.kernel_size, old.stride, old.padding, old.dilation, bias=bias)
