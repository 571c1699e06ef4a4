"""What a network says of stored pictures."""

import numpy as np
import torch
from torch import nn

from thawline.config.errors import UserError
from thawline.config.sections import Trainer
from thawline.data.batches import Batches
from thawline.data.transform import Transform
from thawline.machine import cores, keep_freed_memory
from thawline.models.layout import fastest


def predict(
    network: nn.Module, images: np.ndarray, transform: Transform, batch_size: int, device: torch.device | str
) -> np.ndarray:
    """The probability of each class for each picture: softmax in double precision of what the network
    gives in eval mode. The network is moved to `device` and stays there; its mode is as before.

    Args:
        images: (N, H, W, channels) uint8.

    Returns:
        (N, C) float64, rows summing to 1.

    Raises:
        UserError: an output is not finite.
    """
    was_training = network.training
    network.to(device).eval()
    batches = Batches(
        images, np.zeros(len(images), np.int64), transform, batch_size, shuffle=False, device=device
    )
    try:
        with fastest(network), torch.inference_mode():
            outputs = [network(pixels).cpu().double().softmax(1) for pixels, _, _ in batches]
    finally:
        network.train(was_training)
    probabilities = torch.cat(outputs).numpy()
    _require_finite(probabilities)
    return probabilities


def _require_finite(probabilities: np.ndarray) -> None:
    broken = int((~np.isfinite(probabilities)).any(1).sum())
    if broken:
        raise UserError(
            f"the network's output is not a number for {broken} of {len(probabilities)} pictures: "
            "its training diverged.\n  Train with lower learning rates."
        )


def prepare_device(settings: Trainer) -> torch.device:
    """Set this process's CPU threads and find the device that Lightning's word for an accelerator
    means: `auto` is the GPU where there is one, else the CPU."""
    keep_freed_memory()
    torch.set_num_threads(settings.threads or cores())
    if settings.accelerator in ("auto", "gpu"):
        found = torch.accelerator.current_accelerator(check_available=True)
        if found is None and settings.accelerator == "gpu":
            raise UserError("trainer.accelerator = gpu, but there is none.\n  Set it to auto or cpu.")
        return found or torch.device("cpu")
    return torch.device(settings.accelerator)
