"""How kernels lie in memory. It changes how fast a network is, and the last bits of what it computes."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from thawline.models.convolution import pays, quick_convolutions

_KNOWN = ("torchvision.", "timm.")


def may_be_channels_last(network: nn.Module) -> bool:
    """Whether `network` (or what a `PartlyFrozen` holds) computes the same in that layout: torchvision's and
    timm's do. Anybody's own may ask for a `view` of its features, which exists in the usual layout only."""
    return type(getattr(network, "_network", network)).__module__.startswith(_KNOWN)


def lay_out(module: nn.Module, layout: torch.memory_format) -> None:
    """Let what has four axes, as kernels do, lie so."""
    # not `contiguous`, which leaves a kernel of one place the strides it has: those of its gradient differ
    module._apply(lambda tensor: tensor.to(memory_format=layout) if tensor.dim() == 4 else tensor)


@contextmanager
def channels_last(module: nn.Module, network: nn.Module | None = None) -> Iterator[None]:
    """For the length of the block, kernels lie with their channels last, as convolutions read them fastest,
    if `network` (`module` itself, unless it holds it) may. Inside another such block, nothing changes: an
    optimizer's state lies as the kernels did when it was made."""
    if not may_be_channels_last(module if network is None else network) or _lies_so(module):
        yield
        return
    lay_out(module, torch.channels_last)
    try:
        yield
    finally:
        lay_out(module, torch.contiguous_format)


def _lies_so(module: nn.Module) -> bool:
    tensors = (each for each in (*module.parameters(), *module.buffers()) if each.dim() == 4)
    return all(each.is_contiguous(memory_format=torch.channels_last) for each in tensors)


@contextmanager
def fastest(module: nn.Module, network: nn.Module | None = None) -> Iterator[None]:
    """For the length of the block, `module` computes forward passes as fast as it can: `channels_last` and
    `quick_convolutions`."""
    with channels_last(module, network), quick_convolutions(module):
        yield


@contextmanager
def fastest_training(
    module: nn.Module, network: nn.Module, device: torch.device, *, plain: bool = True
) -> Iterator[None]:
    """For the length of the block, `module` trains as fast as it can. On a CPU, the layout pays together with
    the convolutions only. plain: in 32 bits, and not compiled."""
    if device.type == "cuda":
        with channels_last(module, network):
            yield
    elif device.type == "cpu" and plain and pays():
        with fastest(module, network):
            yield
    else:
        yield
