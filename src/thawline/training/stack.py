"""A batch of models: the same steps on tensors that have one more axis in front, one entry for each model."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn
from torch.func import functional_call, vmap
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from thawline.models.cuts import logits_of
from thawline.models.freezing import tensors_of

State = Mapping[str, torch.Tensor]
"""Parameters and buffers by their names."""

PRODUCTS = (functional.conv1d, functional.conv2d, functional.conv3d, functional.linear)
NORMALISATIONS = (
    functional.batch_norm,
    functional.group_norm,
    functional.instance_norm,
    functional.layer_norm,
)


class Stack:
    """`len(states)` models that do what `module` does, each with tensors of its own.

    What learns in `module` learns here. Each of `parameters` and `buffers` is stacked: `(models, …)`. The
    gradients of `parameters` exist from the start and stay where they are, so that `of` may hand out views of
    both.

    module: in the mode (training or evaluation) that all models follow; its own tensors do not change.
    states: at least the tensors of `module`, where each model starts.
    alike: all models draw the same random numbers (dropout), those that one alone would; else none may.
    """

    def __init__(self, module: nn.Module, states: Sequence[State], *, alike: bool = False) -> None:
        self.module, self.models, self.alike = module, len(states), alike
        self.parameters = {
            name: _stacked(name, states, each).requires_grad_(each.requires_grad)
            for name, each in module.named_parameters()
        }
        self.buffers = {name: _stacked(name, states, each) for name, each in module.named_buffers()}
        self.learning = {name: each for name, each in self.parameters.items() if each.requires_grad}
        for each in self.learning.values():
            each.grad = torch.zeros_like(each)

    def of(self, name: str, model: int) -> torch.Tensor:
        """One model's parameter and its gradient, as views."""
        whole = self.learning[name]
        assert whole.grad is not None
        mine = whole.detach()[model]
        mine.grad = whole.grad[model]
        return mine

    def __call__(self, inputs: torch.Tensor, *, apart: bool = False) -> Any:
        """What each model returns, stacked: (models, B, …).

        inputs: `(B, …)`, the same for all models, or `(models, B, …)` where they are `apart`.

        Raises `RuntimeError` where the steps draw random numbers, but the models are not `alike`.
        """
        called = vmap(
            self._call,
            in_dims=(0, 0, 0 if apart else None),
            randomness="same" if self.alike else "error",
        )
        kind = inputs.device.type
        half = torch.is_autocast_enabled(kind)
        with _Autocast(torch.get_autocast_dtype(kind)) if half else nullcontext():
            return called(self.parameters, self.buffers, inputs)

    def _call(self, parameters: State, buffers: State, inputs: torch.Tensor) -> Any:
        return functional_call(self.module, (dict(parameters), dict(buffers)), (inputs,))

    def forget_gradients(self) -> None:
        for each in self.learning.values():
            assert each.grad is not None
            each.grad.zero_()

    def state(self, model: int) -> dict[str, torch.Tensor]:
        """A copy of one model's tensors, in the machine's memory."""
        whole = {**self.parameters, **self.buffers}
        return {name: each.detach()[model].to("cpu", copy=True) for name, each in whole.items()}


def _stacked(name: str, states: Sequence[State], like: torch.Tensor) -> torch.Tensor:
    return torch.stack([each[name].detach().to(like.device) for each in states])


class _Autocast(TorchFunctionMode):
    """What autocast does to these functions. Where there is one more axis, PyTorch's leaves convolutions as
    they are and has no rule for a normalisation of numbers of two types (pytorch/pytorch#192617)."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,  # noqa: ARG002
        args: Any = (),
        kwargs: Any = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in PRODUCTS and args:
            return func(*(_cast(each, self.dtype) for each in args), **kwargs)
        if func in NORMALISATIONS and args:
            return func(_cast(args[0], torch.float32), *args[1:], **kwargs).to(args[0].dtype)
        return func(*args, **kwargs)


def _cast(value: Any, dtype: torch.dtype) -> Any:
    return value.to(dtype) if isinstance(value, torch.Tensor) and value.is_floating_point() else value


def refusal(stack: Stack, inputs: torch.Tensor) -> str | None:
    """Why models such as those of `stack` cannot be stacked; None where they can. It stays as it is, in the
    mode for training.

    Found out by calling two of them: some steps draw random numbers, some have no rule for one more axis.
    """
    state = tensors_of(stack.module)
    two = Stack(stack.module, [state, state], alike=stack.alike)
    try:
        two.module.eval()
        with torch.no_grad():
            two(inputs)
        two.module.train()
        logits, _ = logits_of(two(inputs))
        logits.sum().backward()
    except (RuntimeError, NotImplementedError) as error:
        return str(error).strip().splitlines()[0]
    return None
