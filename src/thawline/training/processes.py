"""Several processes that train one network: each takes its part of every batch, and all agree.

Only the first process leads (`thawline.machine.leads`): it writes files, records runs, shows progress.
Whatever is used to choose is the same number in all of them.
"""

import atexit
import logging
from typing import Any, TypeVar

import torch
from torch import distributed

from thawline.config.errors import UserError
from thawline.config.sections import Trainer
from thawline.machine import leads, local_rank, local_world_size, world_size
from thawline.models.device import device_of

log = logging.getLogger(__name__)

T = TypeVar("T")


def join(settings: Trainer) -> None:
    """Connect this process with the others that torchrun started, if `settings` want several.

    Raises:
        UserError: torchrun started another number of processes, or the machine has too few GPUs.
    """
    wanted = settings.devices * settings.nodes
    require_processes(settings, world_size(), local_world_size())
    if wanted == 1 or distributed.is_initialized():
        return
    gpu = on_gpus(settings)
    if gpu:
        torch.cuda.set_device(local_rank())
    distributed.init_process_group("nccl" if gpu else "gloo")
    atexit.register(_leave)
    if leads():
        machines = "1 machine" if settings.nodes == 1 else f"{settings.nodes} machines"
        log.info("%d processes on %s train together", wanted, machines)


def require_processes(settings: Trainer, found: int, here: int | None = None) -> None:
    """Raise `UserError` unless as many processes work together, and on this machine, as `settings` want."""
    wanted = settings.devices * settings.nodes
    if found != wanted or here not in (None, settings.devices):
        raise UserError(
            f"trainer.devices = {settings.devices} and trainer.nodes = {settings.nodes} mean {wanted} "
            f"process(es), {settings.devices} on each machine, but there are {found}"
            f"{'' if here is None else f', {here} on this machine'}.\n"
            "  the stages pretrain and finetune start them; by hand: torchrun --nnodes=NODES "
            "--nproc-per-node=DEVICES"
        )


def on_gpus(settings: Trainer) -> bool:
    """Tell whether the processes train on a GPU each.

    Raises `UserError` where there are fewer than processes, or where a device cannot be shared.
    """
    kind = device_of(settings).type
    if kind == "mps":
        raise UserError(
            f"trainer.accelerator = {settings.accelerator}: processes cannot share this machine's one GPU.\n"
            "  set trainer.accelerator=cpu or trainer.devices=1"
        )
    found = torch.cuda.device_count() if kind == "cuda" else 0
    if kind == "cuda" and found < settings.devices:
        raise UserError(
            f"trainer.devices = {settings.devices}, but this machine has {found} GPU(s).\n"
            "  set trainer.devices to that, or trainer.accelerator=cpu"
        )
    return kind == "cuda"


def place() -> tuple[int, int]:
    """Return which of how many connected processes this is; (0, 1) where it is alone."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def summed(tensor: torch.Tensor) -> torch.Tensor:
    """Return the sum of every process's `tensor`, the same bits in all of them, where they communicate: on
    their GPUs or on the CPU."""
    if place()[1] == 1:
        return tensor
    whole = tensor.to("cuda" if distributed.get_backend() == "nccl" else "cpu", copy=True)
    distributed.all_reduce(whole)
    return whole


def same_everywhere(value: T, what: str) -> T:
    """Return `value`, once all processes have come to the same; all wait here for the last of them.

    Processes that go different ways would wait for each other for ever. Raises `UserError` in every
    process when the values differ.
    """
    _, world = place()
    if world == 1:
        return value
    values: list[Any] = [None] * world
    distributed.all_gather_object(values, value)
    other = next((number for number, each in enumerate(values) if each != values[0]), None)
    if other is not None:
        raise UserError(
            f"the processes that train together do not agree on {what}:\n"
            f"  process 0 has {values[0]!r}, process {other} has {values[other]!r}\n"
            "  every machine needs the same code and artifacts, and sees the same scratch/: share one folder"
        )
    return value


def _leave() -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()
