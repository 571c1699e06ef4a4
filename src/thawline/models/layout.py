"""How pictures and kernels lie in memory: with their channels last wherever the network allows it.

Convolutions are then faster on CPUs and on GPUs. It changes the last bits of what a network computes.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

_KNOWN = ("torchvision.", "timm.")

IN_CACHE = 8 * 3 * 224 * 224
"""So many numbers, channels, height and width of all pictures, are computed at once: EfficientNet-Lite0 took
1.5 times as long for each of 32 pictures of 224 pixels as for each of 8, and twice as long for each of 64 (an
EPYC with AVX2)."""


def layout_of(network: nn.Module) -> torch.memory_format:
    """Return the layout that `network` (or what a `PartlyFrozen` or an `Answer` holds) computes in.

    It is channels last for torchvision's and timm's networks. Anybody's own may ask for a `view` of its
    features, which exists in the usual layout only.
    """
    if isinstance(found := getattr(network, "layout", None), torch.memory_format):
        return found
    known = type(getattr(network, "_network", network)).__module__.startswith(_KNOWN)
    return torch.channels_last if known else torch.contiguous_format


def lay_out(module: nn.Module, layout: torch.memory_format) -> None:
    """Let what has four axes in `module`, as kernels do, lie in `layout`."""
    # not `contiguous`, which leaves a kernel of one place the strides it has: those of its gradient differ
    module._apply(lambda tensor: tensor.to(memory_format=layout) if tensor.dim() == 4 else tensor)


def laid_out(maps: torch.Tensor, layout: torch.memory_format) -> torch.Tensor:
    """Return pictures or feature maps (B, C, H, W) in `layout`; what has other axes stays as it is."""
    return maps.contiguous(memory_format=layout) if maps.dim() == 4 else maps


def in_cache(maps: torch.Tensor, pictures: torch.Tensor | None = None) -> tuple[torch.Tensor, ...]:
    """Divide pictures or features (B, ...) into parts of which a processor's caches hold what a network makes
    of them; on a GPU there is one part, which is all of them.

    pictures: what features were made of: they are divided as these, any number of them, would be.
    """
    if maps.device.type != "cpu" or not len(maps):
        return (maps,)
    like = maps if pictures is None else pictures
    return maps.split(max(1, IN_CACHE // max(1, like[0].numel())))


@contextmanager
def in_layout(module: nn.Module, layout: torch.memory_format) -> Iterator[None]:
    """For the length of the block, let the kernels of `module` lie in `layout`.

    Inside another such block nothing changes: an optimizer's state lies as the kernels did when it was made.
    """
    if _lies_so(module, layout):
        yield
        return
    lay_out(module, layout)
    try:
        yield
    finally:
        lay_out(module, torch.contiguous_format)


def _lies_so(module: nn.Module, layout: torch.memory_format) -> bool:
    tensors = (each for each in (*module.parameters(), *module.buffers()) if each.dim() == 4)
    return all(each.is_contiguous(memory_format=layout) for each in tensors)
