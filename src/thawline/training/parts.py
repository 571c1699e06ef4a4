"""In how many parts a batch is computed so that a training step fits into the memory it may take."""

import copy
import logging
from collections.abc import Sequence

import torch
from torch import nn

from thawline.config.errors import UserError
from thawline.config.sections import Trainer
from thawline.data.batches import largest_part
from thawline.machine import GIBIBYTE
from thawline.models.device import device_of
from thawline.models.randomness import own_randomness
from thawline.training.cost import without_memory
from thawline.training.processes import place

log = logging.getLogger(__name__)

PROCESS = 1.1
"""GiB that a process takes on a CPU before its first step: PyTorch, Lightning, MLflow and their like."""
MARGIN = 1.3
"""Times what a step keeps that the allocator takes for it: blocks of different sizes leave holes."""


def parts_that_fit(network: nn.Module, shape: Sequence[int], batch_size: int, settings: Trainer) -> int:
    """Return in how many parts to compute batches of `batch_size` so that a training needs no more than
    `trainer.memory_gib`; 1 where that is null.

    It is counted and not measured, so that it comes out the same whatever else the machine does: what a
    forward pass keeps for the backward pass, twice its largest tensor, and four times the parameters
    (gradients, and what AdamW keeps of them), all in float32.

    Args:
        network: as it will be trained (a `PartlyFrozen`): what is frozen keeps nothing.
        shape: (channels, height, width) of a picture.

    Raises `UserError` where even the smallest parts are too large.
    """
    if settings.memory_gib is None:
        return 1
    kept, largest = kept_bytes(network, shape)
    each = MARGIN * (kept + 2 * largest)
    at_rest = 4.0 * sum(parameter.nbytes for parameter in network.parameters())
    at_rest += PROCESS * GIBIBYTE if device_of(settings).type == "cpu" else 0
    room, (_, processes) = settings.memory_gib * GIBIBYTE - at_rest, place()
    for wanted in range(1, batch_size + 1):
        part = largest_part(batch_size, wanted)
        if -(-part // processes) * each <= room:
            if wanted > 1:
                log.info("trainer.memory_gib: batches of %d pictures, %d at a time", batch_size, part)
            return wanted
    needed = (at_rest + each * -(-part // processes)) / GIBIBYTE
    raise UserError(
        f"trainer.memory_gib = {settings.memory_gib:g}, but {part} pictures at a time, the fewest there can "
        f"be, need about {needed:.1f}.\n  raise it, lower input.size, take a smaller model.architecture, or "
        "freeze more units"
    )


def kept_bytes(network: nn.Module, shape: Sequence[int]) -> tuple[float, float]:
    """Return the bytes that a training step keeps of each picture from its forward pass for its backward
    pass, and those of the largest tensor of them.

    It is computed without memory, on the meta device; a network that cannot run there is copied and run on
    the CPU, on two pictures.
    """
    try:
        return _kept_bytes(without_memory(network), torch.empty(2, *shape, device="meta"))
    except RuntimeError:
        with own_randomness(0):
            return _kept_bytes(copy.deepcopy(network).cpu(), torch.rand(2, *shape))


def _kept_bytes(network: nn.Module, pictures: torch.Tensor) -> tuple[float, float]:
    own = {parameter.untyped_storage()._cdata for parameter in network.parameters()}
    found: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            found[storage._cdata] = storage.nbytes()
        return tensor

    network.train()
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = network(pictures)
    # until here, so that no tensor takes the place of another
    del output
    return sum(found.values()) / len(pictures), max(found.values(), default=0) / len(pictures)
