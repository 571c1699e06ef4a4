"""Convolutions of many channels as sums of matrix products, one for each place of the kernel.

Anderson et al. 2017, *Low-memory GEMM-based convolution algorithms for deep neural networks*
(arXiv:1709.03395), without the copies: with channels last, each place of the kernel is a matrix already, and
so are the positions of a feature map that it is multiplied with. Products with the padding are left out.

The convolutions that PyTorch calls are made for large maps of few channels. On a processor with AVX2, the
gradient of a ResNet-18's last kernels took them nine times as long for pictures of 64 px
(`python benchmarks/ingredients.py`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple, TypeGuard

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

MANY = 2**16
"""From so many pairs of channels on, the kernel's gradient is faster as products, whatever the map's size
(tried: 64 to 1,024 channels, kernels of 1 and 3, maps of 1 to 28, 8 and 32 pictures)."""

SMALL = 16
"""Up to so many positions of the output, the other two passes are from twice as many pairs on."""


class Geometry(NamedTuple):
    """Of a convolution, down and across."""

    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]

    def outputs(self, size: torch.Size, kernel: torch.Size) -> tuple[int, int]:
        """The output's height and width for an input's."""
        down, across = (
            (size[axis] + 2 * self.padding[axis] - self.dilation[axis] * (kernel[axis] - 1) - 1)
            // self.stride[axis]
            + 1
            for axis in (0, 1)
        )
        return down, across


class Tap(NamedTuple):
    """A place of the kernel, as indices of a picture's positions: `source`, the input's that it is
    multiplied with, and `target`, the output's that the products are added to."""

    place: tuple[int, int]
    source: tuple[slice, slice]
    target: tuple[slice, slice]


def taps(geometry: Geometry, size: torch.Size, kernel: torch.Size) -> Iterator[Tap]:
    """Every place of a kernel that meets an input of this height and width anywhere but in its padding."""
    height, width = geometry.outputs(size, kernel)
    across = list(_along(1, geometry, size, kernel, width))
    for row, above, below in _along(0, geometry, size, kernel, height):
        for column, left, right in across:
            yield Tap((row, column), (above, left), (below, right))


def _along(
    axis: int, geometry: Geometry, size: torch.Size, kernel: torch.Size, outputs: int
) -> Iterator[tuple[int, slice, slice]]:
    stride = geometry.stride[axis]
    for place in range(kernel[axis]):
        shift = place * geometry.dilation[axis] - geometry.padding[axis]
        first = max(0, -(shift // stride))
        last = min(outputs - 1, (size[axis] - 1 - shift) // stride)
        if first <= last:
            source = slice(first * stride + shift, last * stride + shift + 1, stride)
            yield place, source, slice(first, last + 1)


def output_of(images: torch.Tensor, kernel: torch.Tensor, geometry: Geometry) -> torch.Tensor:
    """What `functional.conv2d` makes of (B, C, H, W) `images` with an (O, C, h, w) `kernel`."""
    positions, places = _positions(images), kernel.permute(2, 3, 1, 0)
    height, width = geometry.outputs(images.shape[2:], kernel.shape[2:])
    output = _zeros(images, len(images), len(kernel), height, width)
    outputs = _positions(output)
    for tap in taps(geometry, images.shape[2:], kernel.shape[2:]):
        outputs[:, *tap.target] += _product(positions[:, *tap.source], places[tap.place])
    return output


def images_gradient(
    gradient: torch.Tensor, kernel: torch.Tensor, size: torch.Size, geometry: Geometry
) -> torch.Tensor:
    """The gradient of images of this height and width, for the (B, O, h, w) `gradient` of the output."""
    outputs, places = _positions(gradient), kernel.permute(2, 3, 0, 1)
    result = _zeros(gradient, len(gradient), kernel.shape[1], *size)
    sources = _positions(result)
    for tap in taps(geometry, size, kernel.shape[2:]):
        sources[:, *tap.source] += _product(outputs[:, *tap.target], places[tap.place])
    return result


def kernel_gradient(
    images: torch.Tensor, gradient: torch.Tensor, kernel: torch.Tensor, geometry: Geometry
) -> torch.Tensor:
    """The gradient of the (O, C, h, w) `kernel`, for the (B, O, h, w) `gradient` of the output."""
    (many, channels), size = kernel.shape[:2], kernel.shape[2:]
    positions, outputs = _positions(images), _positions(gradient)
    result = images.new_empty(many, *size, channels)
    found = list(taps(geometry, images.shape[2:], size))
    if len(found) < size.numel():
        # of places that meet nothing but padding
        result.zero_()
    for tap in found:
        source = positions[:, *tap.source].reshape(-1, channels)
        target = outputs[:, *tap.target].reshape(-1, many)
        torch.mm(target.t(), source, out=result[:, *tap.place])
    if size.numel() == 1 and kernel.is_contiguous():
        # it lies so in either layout, but autograd and DDP compare strides along axes of length 1 as well
        return result.as_strided(kernel.shape, kernel.stride())
    return result.permute(0, 3, 1, 2)


def _positions(maps: torch.Tensor) -> torch.Tensor:
    """(B, C, h, w) as (B, h, w, C), channels lying beside each other: copied once rather than at each tap."""
    return maps.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1)


def _zeros(like: torch.Tensor, *shape: int) -> torch.Tensor:
    # no view of something else: an autograd function's output may be changed in place by what comes next
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last).zero_()


def _product(positions: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    # as one matrix: `@` would multiply each picture's that is not in one piece
    product = positions.reshape(-1, positions.shape[-1]) @ matrix
    return product.view(*positions.shape[:-1], matrix.shape[1])


class _Convolution(torch.autograd.Function):
    """Each of the three passes the way that is faster."""

    @staticmethod
    def forward(ctx: Any, images: torch.Tensor, kernel: torch.Tensor, geometry: Geometry) -> torch.Tensor:
        ctx.save_for_backward(images, kernel)
        ctx.geometry = geometry
        ctx.small = _small(images, kernel, geometry)
        if ctx.small:
            return output_of(images, kernel, geometry)
        return functional.conv2d(images, kernel, None, *geometry)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None, None]:
        images, kernel = ctx.saved_tensors
        (gradient,) = gradients
        of_images = of_kernel = None
        if ctx.needs_input_grad[0] and ctx.small:
            of_images = images_gradient(gradient, kernel, images.shape[2:], ctx.geometry)
        elif ctx.needs_input_grad[0]:
            of_images = torch.ops.aten.convolution_backward(
                gradient, images, kernel, None, *ctx.geometry, False, (0, 0), 1, (True, False, False)
            )[0]
        if ctx.needs_input_grad[1]:
            of_kernel = kernel_gradient(images, gradient, kernel, ctx.geometry)
        return of_images, of_kernel, None


def convolution(images: torch.Tensor, kernel: torch.Tensor, geometry: Geometry) -> torch.Tensor:
    """`functional.conv2d` without bias or groups, with a gradient of the first order."""
    return _Convolution.apply(images, kernel, geometry)


def _small(images: torch.Tensor, kernel: torch.Tensor, geometry: Geometry) -> bool:
    height, width = geometry.outputs(images.shape[2:], kernel.shape[2:])
    if min(height, width) < 1 or height * width > SMALL or kernel.shape[0] * kernel.shape[1] < 2 * MANY:
        return False
    # the output has its channels last, so only where PyTorch's has
    return kernel.is_contiguous(memory_format=torch.channels_last) and (
        height * width == 1 or _last(images) or _last(kernel)
    )


def _last(tensor: torch.Tensor) -> bool:
    """Whether it has its channels last, and is not so in either layout (a kernel of one place is)."""
    return tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_contiguous()


@contextmanager
def quick_convolutions(network: nn.Module) -> Iterator[None]:
    """For the length of the block, `network`'s convolutions are computed as here where that is faster: of
    many channels, on a CPU with AVX2 but not AVX-512, in 32 bits. Whoever compiles the network, or asks for
    a second derivative or for many models at once, does so outside."""
    layers = quicken(network)
    try:
        yield
    finally:
        for layer in layers:
            del layer._conv_forward


def pays() -> bool:
    """Whether this processor is of the kind on which it was measured to."""
    return torch.backends.cpu.get_cpu_capability() == "AVX2"


def quicken(network: nn.Module) -> list[nn.Conv2d]:
    """Let `network` compute its convolutions so from now on, in place. Returns those that it concerns."""
    if not pays():
        return []
    layers = [layer for layer in network.modules() if _concerned(layer)]
    for layer in layers:
        # unlike a method's, its copies and pickles are what they should be
        layer._conv_forward = partial(_forward, layer)  # type: ignore[method-assign]
    return layers


def _concerned(layer: nn.Module) -> TypeGuard[nn.Conv2d]:
    # a class of its own may compute something else
    return (
        isinstance(layer, nn.Conv2d)
        and getattr(layer._conv_forward, "__func__", None) is nn.Conv2d._conv_forward
        and layer.groups == 1
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
        and layer.in_channels * layer.out_channels >= MANY
    )


def _forward(
    layer: nn.Conv2d, images: torch.Tensor, kernel: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    plain = images.device.type == "cpu" and images.dtype is kernel.dtype is torch.float32
    if not plain or images.dim() != 4 or torch.is_autocast_enabled("cpu"):
        return nn.Conv2d._conv_forward(layer, images, kernel, bias)
    geometry = Geometry(_pair(layer.stride), _pair(layer.padding), _pair(layer.dilation))
    output = convolution(images, kernel, geometry)
    return output if bias is None else output + bias.view(-1, 1, 1)


def _pair(value: Any) -> tuple[int, int]:
    down, across = value
    return int(down), int(across)
