"""Random initialisation that leaves no trace in the global generator."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch


def reseed(seed: int, device: torch.device) -> None:
    """Let random numbers on the CPU and on `device` follow `seed`.

    `torch.manual_seed` would seed accelerators that are not used as well, and remember where it was called.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


@contextmanager
def own_randomness(seed: int | None = None) -> Iterator[None]:
    """Let CPU random numbers inside follow `seed` (None: go on from where they are); afterwards the
    global generator is where it was. Tensors are made on the CPU, so no other generator is touched."""
    state = torch.get_rng_state()
    try:
        if seed is not None:
            # torch.manual_seed would seed the accelerators' generators as well.
            torch.default_generator.manual_seed(seed)
        # a default device is looked up in every call inside: half of the time of building a network
        on_cpu = torch.get_default_device().type == "cpu"
        with nullcontext() if on_cpu else torch.device("cpu"):
            yield
    finally:
        torch.set_rng_state(state)
