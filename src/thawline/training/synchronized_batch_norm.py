"""Batch normalisation over the pictures of all processes, so that several learn what one would."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import distributed
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class SynchronizedBatchNorm(TorchFunctionMode):
    """Let `functional.batch_norm` inside, in training mode, measure mean and variance over every process's
    pictures, forward and backward.

    PyTorch's `SyncBatchNorm` does so on GPUs only, and takes the layers' place: layers held in evaluation
    mode, and those of a class of their own, would be lost.

    counts: () float, 1, or 0 where this process's pictures are not to be measured.
    """

    def __init__(self, counts: torch.Tensor) -> None:
        super().__init__()
        self.counts = counts

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],  # noqa: ARG002
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is functional.batch_norm:
            return self._batch_norm(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _batch_norm(
        self,
        input: torch.Tensor,
        running_mean: torch.Tensor | None,
        running_var: torch.Tensor | None,
        weight: torch.Tensor | None = None,
        bias: torch.Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> torch.Tensor:
        if not training:
            return functional.batch_norm(
                input, running_mean, running_var, weight, bias, training, momentum, eps
            )
        wide = input if input.dtype is torch.float64 else input.float()
        axes, shape = [0, *range(2, input.dim())], [1, -1] + [1] * (input.dim() - 2)
        numbers = wide.new_tensor([input.numel() / input.shape[1]])
        sums = _Summed.apply(torch.cat([wide.sum(axes), numbers]) * self.counts)
        mean, count = sums[:-1] / sums[-1], sums[-1]
        centred = wide - mean.view(shape)
        variance = _Summed.apply(centred.square().sum(axes) * self.counts) / count
        _follow(running_mean, mean, momentum)
        # of the sample, as PyTorch estimates it; it normalises by that of the batch
        _follow(running_var, variance * count / (count - 1).clamp(min=1), momentum)
        output = centred * (variance + eps).rsqrt().view(shape)
        if weight is not None:
            output = output * weight.view(shape)
        if bias is not None:
            output = output + bias.view(shape)
        return output.to(input.dtype)


@torch.no_grad()
def _follow(running: torch.Tensor | None, found: torch.Tensor, momentum: float) -> None:
    if running is not None:
        running.mul_(1 - momentum).add_(found.to(running.dtype), alpha=momentum)


class _Summed(torch.autograd.Function):
    """Sum over processes. What one of them does with it is felt by all, so gradients are summed, too."""

    @staticmethod
    def forward(context: Any, tensor: torch.Tensor) -> torch.Tensor:  # noqa: ARG004
        whole = tensor.clone()
        distributed.all_reduce(whole)
        return whole

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> torch.Tensor:  # noqa: ARG004
        whole = gradient.clone()
        distributed.all_reduce(whole)
        return whole
