"""Statistics of BatchNorm that belong to the weights they are kept with.

A layer's own momentum looks so many steps back (PyTorch's 0.1: ten; MobileNetV3's 0.01: a hundred; MNASNet's
0.0003: three thousand), which is longer than a short training lasts: it ends with statistics of long ago, or
with those that layers are made with (docs/batch_norm.md).
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from thawline.models.layout import in_layout, laid_out, layout_of


class EpochStatistics:
    """The statistics of the layers of `network` in training mode over the batches of one epoch.

    They are the mean over the epoch so far, each picture counting alike, or where that is the shorter memory,
    the moving average by the layer's own momentum. Layers in evaluation mode are left alone, and so are those
    without a momentum, which average everything by themselves or nothing.

    Made when an epoch begins. Until `keep` is called, the layers hold what they saw last.

    sizes: pictures in each batch (or part of one) of the epoch, those of all processes together.
    """

    def __init__(self, network: nn.Module, sizes: Sequence[int]) -> None:
        found = [each for each in network.modules() if isinstance(each, _NormBase) and each.training]
        self._layers = [each for each in found if each.running_mean is not None and each.momentum]
        self._momenta = [float(each.momentum or 0) for each in self._layers]
        self._means: list[torch.Tensor] = []
        self._shares = (size / seen for size, seen in zip(sizes, accumulate(sizes), strict=True))
        for layer in self._layers:
            # what a batch leaves behind is then what was seen in it
            layer.momentum = 1.0

    @torch.no_grad()
    def take(self) -> None:
        """Take in the batch, or the part of one, that the network has just seen."""
        share = next(self._shares)
        seen = [tensor for layer in self._layers for tensor in _statistics(layer)]
        if not self._means:
            self._means = [tensor.clone() for tensor in seen]
            return
        momenta = [max(own, share) for own in self._momenta for _ in range(2)]
        for mean, new, momentum in zip(self._means, seen, momenta, strict=True):
            mean.lerp_(new, momentum)

    @torch.no_grad()
    def keep(self) -> None:
        """Write the statistics into the layers, which have their own momenta again."""
        tensors = (tensor for layer in self._layers for tensor in _statistics(layer))
        for tensor, mean in zip(tensors, self._means, strict=bool(self._means)):
            tensor.copy_(mean)
        for layer, own in zip(self._layers, self._momenta, strict=True):
            layer.momentum = own


def _statistics(layer: _NormBase) -> tuple[torch.Tensor, torch.Tensor]:
    assert layer.running_mean is not None
    assert layer.running_var is not None
    return layer.running_mean, layer.running_var


@torch.no_grad()
def estimate_statistics(network: nn.Module, moving: Collection[str], batches: Iterable[torch.Tensor]) -> None:
    """Measure the statistics of the BatchNorm layers at the paths `moving` anew, all others stay.

    Averaged weights make other activations than those the averaged statistics describe (Izmailov et
    al. 2018, 3.2). PyTorch's `update_bn` would reset frozen layers too, and let dropout work. Every
    picture counts alike; each batch should hold several.

    batches: images (B, C, H, W). Leaves all modules in evaluation mode.
    """
    layers = [layer for path, layer in network.named_modules() if path in moving]
    norms = [layer for layer in layers if isinstance(layer, _BatchNorm) and layer.track_running_stats]
    network.eval()
    if not norms:
        return
    layout = layout_of(network)
    with _measuring(norms), in_layout(network, layout):
        seen = 0
        for images in batches:
            seen += len(images)
            for norm in norms:
                norm.momentum = len(images) / seen
            network(laid_out(images, layout))


@contextmanager
def _measuring(norms: list[_BatchNorm]) -> Iterator[None]:
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        # not norm.train(): a held layer may refuse to change its mode
        norm.training = True
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum, norm.training = momentum, False
