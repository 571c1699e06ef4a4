"""Out of memory is no reason to give a recipe up: the same batches can be computed in smaller parts."""

import gc
import logging
from collections.abc import Callable
from typing import TypeVar

import torch

from thawline.config.errors import UserError

log = logging.getLogger(__name__)

HALVINGS = 3
"""How often a batch is halved before a recipe counts as too large for this machine."""

SAYINGS = ("out of memory", "can't allocate memory", "DefaultCPUAllocator")
"""How PyTorch says, in errors of no type of their own, that there is no memory left."""

Result = TypeVar("Result")


def out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that there is no memory left, on a GPU or elsewhere."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(saying in str(error) for saying in SAYINGS)


def with_less_memory(
    train: Callable[[int], Result], batch_size: int, accumulate: int = 1
) -> tuple[Result, int]:
    """What `train(accumulate)` returns, and the `accumulate` it returned with: doubled, `HALVINGS` times at
    most, whenever there was no memory left for a part of `batch_size / accumulate` pictures.

    Raises `UserError` where even the smallest parts are too large.
    """
    while True:
        try:
            return train(accumulate), accumulate
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
        # only here, because the error holds on to the frames that hold the memory
        free_memory()
        part, smaller = -(-batch_size // accumulate), -(-batch_size // (2 * accumulate))
        # BatchNorm cannot learn from a single picture
        if accumulate >= 2**HALVINGS or smaller < 2:
            raise UserError(
                f"out of memory even with batches of {part} pictures.\n"
                "  lower input.size, take a smaller model.architecture, or freeze more units"
            )
        log.info("out of memory with batches of %d pictures: trying again with %d at a time", part, smaller)
        accumulate *= 2


def free_memory() -> None:
    """Give back what nothing refers to any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
