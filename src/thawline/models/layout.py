"""How kernels lie in memory. It changes how fast a network is, and the last bits of what it computes."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from thawline.models.convolution import quick_convolutions

_KNOWN = ("torchvision.", "timm.")


def may_be_channels_last(network: nn.Module) -> bool:
    """Whether `network` (or what a `PartlyFrozen` holds) computes the same in that layout: torchvision's and
    timm's do. Anybody's own may ask for a `view` of its features, which exists in the usual layout only."""
    return type(getattr(network, "_network", network)).__module__.startswith(_KNOWN)


def lay_out(module: nn.Module, layout: torch.memory_format) -> None:
    """Let what has four axes, as kernels do, lie so."""
    module._apply(lambda tensor: tensor.contiguous(memory_format=layout) if tensor.dim() == 4 else tensor)


@contextmanager
def channels_last(module: nn.Module, network: nn.Module | None = None) -> Iterator[None]:
    """For the length of the block, kernels lie with their channels last, as convolutions read them fastest,
    if `network` (`module` itself, unless it holds it) may."""
    if not may_be_channels_last(module if network is None else network):
        yield
        return
    lay_out(module, torch.channels_last)
    try:
        yield
    finally:
        lay_out(module, torch.contiguous_format)


@contextmanager
def fastest(module: nn.Module, network: nn.Module | None = None) -> Iterator[None]:
    """For the length of the block, `module` computes as fast as it can: `channels_last` and
    `quick_convolutions`."""
    with channels_last(module, network), quick_convolutions(module):
        yield
