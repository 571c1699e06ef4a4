"""Want of memory is no reason to give a recipe up: the same batches can be computed in smaller parts."""

import gc
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

from thawline.config.errors import UserError
from thawline.data.batches import largest_part
from thawline.machine import return_freed_memory
from thawline.training.processes import place

log = logging.getLogger(__name__)

HALVINGS = 3
"""How often a batch is halved before a recipe counts as too large for this machine."""

SAYINGS = ("out of memory", "can't allocate memory", "DefaultCPUAllocator")
"""How PyTorch says, in errors of no type of their own, that there is no memory left."""

Result = TypeVar("Result")


def out_of_memory(error: BaseException) -> bool:
    """Tell whether `error` says that there is no memory left, on a GPU or elsewhere."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(saying in str(error) for saying in SAYINGS)


def with_less_memory(
    train: Callable[[int], Result], batch_size: int, accumulate: int = 1
) -> tuple[Result, int]:
    """Return what `train(accumulate)` returns, and the `accumulate` it returned with: doubled, `HALVINGS`
    times at most, whenever there was no memory left for batches of `batch_size` in so many parts.

    Raises `UserError` where even the smallest parts are too large, and in processes that train together: the
    others wait for the one that ran out of memory in the middle of a step, and cannot be called back.
    """
    while True:
        try:
            return train(accumulate), accumulate
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
        # only here, because the error holds on to the frames that hold the memory
        free_memory()
        _, processes = place()
        if processes > 1:
            raise UserError(
                f"out of memory with batches of {batch_size} pictures shared out among {processes} processes."
                "\n  lower batch_size or input.size, raise trainer.devices, take a smaller "
                "model.architecture, or freeze more units"
            )
        part, smaller = largest_part(batch_size, accumulate), largest_part(batch_size, 2 * accumulate)
        if accumulate >= 2**HALVINGS or smaller == part:
            raise UserError(
                f"out of memory even with batches of {part} pictures.\n"
                "  lower input.size, take a smaller model.architecture, or freeze more units"
            )
        log.info("out of memory with batches of %d pictures: trying again with %d at a time", part, smaller)
        accumulate *= 2


def of_attempt(checkpoint: Path, accumulate: int) -> Path:
    """Return the folder in `checkpoint` of a training in so many parts, apart from one in fewer."""
    return checkpoint if accumulate == 1 else checkpoint / f"in-{accumulate}-parts"


def free_memory() -> None:
    """Give back what nothing refers to any more."""
    gc.collect()
    return_freed_memory()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
