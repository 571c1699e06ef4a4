"""Where a process computes, with how many threads, and how precisely: decided here, and others are told."""

import torch

from thawline.config.errors import UserError
from thawline.config.sections import Precision, Trainer
from thawline.machine import cores_each, keep_freed_memory, local_rank


def prepare_device(settings: Trainer) -> torch.device:
    """Set this process's CPU threads and memory, and return the device that it computes on in float32.

    Raises `UserError` where a GPU is demanded and there is none.
    """
    keep_freed_memory()
    torch.set_num_threads(settings.threads or cores_each())
    return device_of(settings)


def prepare_machine(settings: Trainer) -> torch.device:
    """Do as `prepare_device` for training: a GPU may round what it multiplies to TensorFloat-32."""
    torch.set_float32_matmul_precision("high")
    return prepare_device(settings)


def device_of(settings: Trainer) -> torch.device:
    """Return the device that `trainer.accelerator` means: `auto` is the GPU where there is one, else the CPU.

    Of several processes on a machine each has the GPU of its own number. Raises `UserError` where a GPU is
    demanded and there is none.
    """
    wanted = settings.accelerator
    found = None if wanted == "cpu" else torch.accelerator.current_accelerator(check_available=True)
    if found is None or wanted not in ("auto", "gpu", found.type):
        if wanted in ("auto", "cpu"):
            return torch.device("cpu")
        raise UserError(f"trainer.accelerator = {wanted}, but there is none.\n  Set it to auto or cpu.")
    return torch.device("cuda", local_rank()) if found.type == "cuda" else found


def in_half_precision(settings: Trainer) -> bool:
    """Tell whether trainings compute in bfloat16 where they may (autocast): by default, where a GPU can."""
    if settings.precision is Precision.auto:
        return device_of(settings).type == "cuda" and torch.cuda.is_bf16_supported()
    return settings.precision is Precision.bfloat16
