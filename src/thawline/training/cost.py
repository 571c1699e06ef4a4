"""What one training costs: parameters, operations, time and memory, all counted or measured."""

import copy
import hashlib
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import fx, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import conv_flop_count, flop_registry, shape_wrapper

from thawline.machine import return_freed_memory
from thawline.models.cuts import logits_of
from thawline.models.freezing import PartlyFrozen
from thawline.models.randomness import own_randomness
from thawline.training.history import Row

log = logging.getLogger(__name__)

_NUMBERS = (int, float, str, tuple)
"""Of what kind the settings of a layer are."""

_counted: dict[tuple[str, tuple[int, ...], int], "Flops"] = {}

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Flops(NamedTuple):
    """Floating-point operations per picture, a multiplication and an addition counted as two."""

    forward: int
    step: int


def measured(
    network: nn.Module,
    shape: Sequence[int],
    batch_size: int,
    history: Sequence[Row],
    spent: Sequence[int | None],
    pictures: int,
    device: torch.device | str = "cpu",
) -> dict[str, float]:
    """Return a finished training's cost, by the names that metrics of a run and costs.json have, too; without
    what could not be counted, which is logged and ends nothing.

    Operations are per picture, but for those of the whole training, all steps of all phases; a `step` is
    forward and backward as the training does them. Epochs include their validation. Memory is the process's,
    or the GPU's where the network was trained on one.

    Args:
        network: as it was trained last (a `PartlyFrozen`), on any device; nothing of it changes.
        shape: (channels, height, width) of a picture.
        history: a row per epoch.
        spent: operations per picture of each phase, all its epochs together; None where they are unknown.
        pictures: training pictures in an epoch.
        device: where it was trained; call `reset_peak_memory` with it before the training.
    """
    (learning, total), operations = parameters(network), flops_if_possible(network, shape, batch_size)
    seconds = sum(row["seconds"] for row in history)
    cost = {
        "trainable_parameters": learning,
        "total_parameters": total,
        "forward_flops": operations and operations.forward,
        "step_flops": operations and operations.step,
        "training_flops": None if None in spent else pictures * sum(each or 0 for each in spent),
        "seconds_per_epoch": seconds / len(history),
        "pictures_per_second": pictures * len(history) / seconds,
        "peak_memory_bytes": peak_memory(device),
    }
    return {name: value for name, value in cost.items() if value is not None}


def flops_if_possible(network: nn.Module, shape: Sequence[int], batch_size: int) -> Flops | None:
    """Return `flops`, counted once for all networks alike; None, and log why, where that fails."""
    try:
        alike = (_structure(network), tuple(shape), batch_size)
        if alike not in _counted:
            _counted[alike] = flops(network, shape, batch_size)
        return _counted[alike]
    except Exception as error:  # whatever it is, a network that was trained is worth more than its count
        log.warning("The training's operations could not be counted: %s", error)
        return None


def _structure(network: nn.Module) -> str:
    """Return a hash of what decides the operations of a network: its layers and their numbers, its steps
    where they are known, the shapes of its tensors, which of them learn and which modules are held in their
    mode."""
    tensors = [*network.named_parameters(), *network.named_buffers()]
    parts = [
        repr((type(network), network)),
        *(module.code for module in network.modules() if isinstance(module, fx.GraphModule)),
        repr([(name, tuple(each.shape), each.dtype, each.requires_grad) for name, each in tensors]),
    ]
    for name, module in network.named_modules():
        own = {key: value for key, value in module.__dict__.items() if isinstance(value, _NUMBERS)}
        own.pop("training", None)
        # a module that is held in its mode has a `train` of its own
        parts.append(repr((name, sorted(own.items()), "train" in module.__dict__)))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def parameters(network: nn.Module) -> tuple[int, int]:
    """Count the numbers that learn, and all of them; what is shared counts once.

    Of a `PartlyFrozen`, the network's that was frozen: auxiliary heads that its two sides leave out count.
    """
    whole = network._network if isinstance(network, PartlyFrozen) else network
    sizes = [(each.numel(), each.requires_grad) for each in whole.parameters()]
    return sum(size for size, learns in sizes if learns), sum(size for size, _ in sizes)


def flops(network: nn.Module, shape: Sequence[int], batch_size: int = 2) -> Flops:
    """Count operations per picture of a forward pass in evaluation mode, and of a training step: forward and
    backward as this network really does them, so less for a frozen prefix.

    Counted by PyTorch's formulas (`torch.utils.flop_counter`: matrix products, convolutions and attention; a
    normalisation or an activation counts nothing) on a copy without memory, on the meta device. A network
    that cannot run there is copied and run on the CPU, once in each mode, on two pictures; so is one of
    which a linear layer alone learns: the meta device loads PyTorch's compiler, which takes longer than to
    solve such a head. Leaves weights, buffers, modes, gradients and random state as they are. What costs
    the same for any number of pictures, such as adding a low-rank change to a weight, is shared out over
    the batch.

    shape: (channels, height, width). batch_size: pictures in a step; 2 or more where BatchNorm may see
    a single position per channel.
    """
    try:
        if not _one_linear_layer_learns(network):
            return _flops(without_memory(network), torch.empty(batch_size, *shape, device="meta"))
    except RuntimeError:
        # Mostly a tensor the network makes on its own on the CPU. If the network itself is at fault,
        # running it for real says so better than the meta device does.
        pass
    with own_randomness(0), _unfused_attention():
        # the whole batch may need more memory than there is outside the GPU
        return _flops(copy.deepcopy(network).cpu(), torch.rand(2, *shape))


def _one_linear_layer_learns(network: nn.Module) -> bool:
    paths = {name.rpartition(".")[0] for name, tensor in network.named_parameters() if tensor.requires_grad}
    return len(paths) == 1 and isinstance(network.get_submodule(*paths), nn.Linear)


def _flops(network: nn.Module, pictures: torch.Tensor) -> Flops:
    network.eval()
    with _Counter() as forward, torch.no_grad():
        network(pictures)
    network.train()
    with _Counter() as step, torch.enable_grad():
        logits, auxiliary = logits_of(network(pictures))
        loss = sum((each.sum() for each in auxiliary), start=logits.sum())
        if loss.requires_grad:
            loss.backward()
    return Flops(*(round(each.total / len(pictures)) for each in (forward, step)))


class _Counter(TorchDispatchMode):
    """Counts the operations of what runs while it is entered, by PyTorch's formulas.

    PyTorch's own counter, `FlopCounterMode`, takes apart what has no formula, and loads the compiler to keep
    out of its way: both take longer than all the rest.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # nothing is compiled while it counts, so that the compiler need not be told to look away
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ARG002
        found = func(*args, **(kwargs or {}))
        formula = _FORMULAS.get(func.overloadpacket)
        if formula is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=found)
        return found


def _convolution_backward(
    gradient: list[int], given: list[int], weight: list[int], *arguments: Any, **_: Any
) -> int:
    """Either gradient of a convolution takes the multiplications of its forward pass. PyTorch's own formula
    leaves the groups out of the weight's: 24 times too many for MobileNet (pytorch/pytorch#183405)."""
    transposed, wanted = arguments[4], arguments[7]
    return sum(wanted[:2]) * conv_flop_count(given, weight, gradient, transposed)


_FORMULAS = {**flop_registry, torch.ops.aten.convolution_backward: shape_wrapper(_convolution_backward)}
"""By operation, how many operations on numbers it is."""


@contextmanager
def _unfused_attention() -> Iterator[None]:
    """Without it, a layer of attention in evaluation mode is one operation that has no formula."""
    fused = torch.backends.mha.get_fastpath_enabled()
    try:
        torch.backends.mha.set_fastpath_enabled(False)
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


def without_memory(network: nn.Module) -> nn.Module:
    """Return a copy on the meta device, made without copying a tensor first."""
    found: dict[int, torch.Tensor] = {}
    for module in network.modules():
        # plain attributes too: networks keep masks and indices in them
        for holder in (module._parameters, module._buffers, module.__dict__):
            for value in holder.values():
                if isinstance(value, torch.Tensor):
                    found[id(value)] = _meta(value)
    # deepcopy takes what is in its memo for copied
    return copy.deepcopy(network, dict(found))


def _meta(tensor: torch.Tensor) -> torch.Tensor:
    empty = torch.empty_like(tensor, device="meta", requires_grad=False)
    return nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty


def reset_peak_memory(device: torch.device | str = "cpu") -> None:
    """Let `peak_memory` start anew, as far as the system can: on Linux and on a GPU."""
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif _CLEAR.exists():
        # or what an earlier training freed would count as this one's
        return_freed_memory()
        # 5: the high-water mark of resident memory (proc(5)); some containers forbid it
        with suppress(OSError):
            _CLEAR.write_text("5")


def peak_memory(device: torch.device | str = "cpu") -> int:
    """Return the most bytes that tensors took on the GPU, or that the process had in memory, since
    `reset_peak_memory` (elsewhere than on Linux: since the process started)."""
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if _STATUS.exists():
        line = next(each for each in _STATUS.read_text().splitlines() if each.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
