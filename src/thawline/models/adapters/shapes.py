"""The shapes of the tensors inside a network."""

from collections.abc import Sequence

import torch
from torch import fx, nn
from torch.func import functional_call
from torch.nn.modules.conv import _ConvNd

from thawline.config.errors import UserError
from thawline.models.tracing import Trace, results_of

_BATCH = 2
_USUAL = (224, 256, 32, 64, 96, 128, 160, 192, 288, 299, 320, 384, 448, 480, 512, 518)
"""Sides of pictures that networks are commonly made for."""
_LARGEST = 640


def shapes_of(trace: Trace, steps: Sequence[fx.Node]) -> tuple[torch.Size, ...]:
    """Return the shape each of the `steps` of `trace.main` has for a batch of pictures, batch axis first.

    The pictures are square, of a size that the network accepts and, if there is one, at which
    `channel_axis` is sure of every shape. Two of them are really computed: PyTorch's `meta` device, on which
    nothing is, loads its compiler first, which takes longer. `trace.network` and the random numbers stay as
    they are.

    Raises `UserError` when no square picture up to 640 x 640 goes through.
    """
    module = reporting(trace, steps)
    channels = next((m.in_channels for m in module.modules() if isinstance(m, _ConvNd)), 3)
    accepted: tuple[torch.Size, ...] | None = None
    reason: Exception | None = None
    for size in (*_USUAL, *sorted(set(range(1, _LARGEST + 1)) - set(_USUAL))):
        if accepted is not None and size not in _USUAL:
            break
        try:
            found = _run(module, torch.Size((_BATCH, channels, size, size)))
        except Exception as error:  # whatever a network raises for pictures of another size
            reason = error
            continue
        if not any(map(_is_unsure, found)):
            return found
        accepted = accepted or found
    if accepted is None:
        raise UserError(
            f"{type(trace.network).__name__} takes no square pictures of up to {_LARGEST} x {_LARGEST}, so "
            f"nothing can be put between its units ({reason}).\n  Choose another method, such as lora."
        ) from reason
    return accepted


def why_not(trace: Trace, pictures: torch.Size) -> Exception | None:
    """Return what goes wrong when `trace.main` is given pictures of this shape; None: nothing."""
    try:
        _run(reporting(trace, results_of(trace.main)), pictures)
    except Exception as error:  # whatever a network raises
        return error
    return None


def channel_axis(shape: torch.Size) -> int:
    """Return where the channels are: last in (B, C), tokens (B, N, C) and (B, H, W, C), second in (B, C, H,
    W).

    Rows and columns of a square picture are equal in number; channels that are, too, are taken to be second.
    """
    return 1 if len(shape) == 4 and shape[2] == shape[3] else len(shape) - 1


def _is_unsure(shape: torch.Size) -> bool:
    return len(shape) == 4 and shape[1] == shape[2] == shape[3]


def reporting(trace: Trace, steps: Sequence[fx.Node]) -> fx.GraphModule:
    """Return the network up to its logits, with the values of the steps as its output."""
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    graph.graph_copy(trace.main, copies)
    graph.output(tuple(copies[step] for step in steps))
    return graph_module(trace, graph)


def graph_module(trace: Trace, graph: fx.Graph) -> fx.GraphModule:
    """Return `graph`, whose steps refer to what `trace` has a value for, as a module."""
    targets = {str(node.target) for node in graph.nodes if node.op in ("call_module", "get_attr")}
    return fx.GraphModule({target: trace.value(target) for target in targets}, graph)


def _run(module: nn.Module, pictures: torch.Size) -> tuple[torch.Size, ...]:
    like = next((each for each in module.parameters() if each.is_floating_point()), torch.empty(0))
    # in training mode statistics would move
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    with torch.no_grad(), torch.random.fork_rng([like.device] if like.is_cuda else []):
        values = functional_call(module, buffers, (like.new_zeros(pictures),))
    return tuple(value.shape for value in values)
