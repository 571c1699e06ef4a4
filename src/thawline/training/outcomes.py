"""What a network says of each picture of a part: right or wrong, and at what loss."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from thawline.config.sections import Trainer
from thawline.data.batches import Batches
from thawline.data.store import Store
from thawline.models.cuts import logits_of
from thawline.models.layout import channels_last
from thawline.training.fit import device_of

BATCH = 256


def outcomes(
    network: nn.Module, part: Store, trainer: Trainer, batch_size: int = BATCH
) -> tuple[np.ndarray, np.ndarray]:
    """Of each picture of `part`, in order: 1.0 where the network is right and 0.0 where it is wrong, (N,),
    and the cross-entropy, (N,) in nats.

    Pictures are plain, the network is in evaluation mode and on the device Lightning trains on; it comes back
    on the CPU, in the mode it was in.
    """
    device, was_training = device_of(trainer), network.training
    network.to(device).eval()
    correct, losses = [], []
    try:
        with channels_last(network), torch.inference_mode():
            pictures = Batches(
                part.images, part.labels, part.transform, batch_size, shuffle=False, device=device
            )
            for images, labels, _ in pictures:
                logits = logits_of(network(images))[0].float()
                correct.append((logits.argmax(1) == labels).cpu())
                losses.append(functional.cross_entropy(logits, labels, reduction="none").cpu())
    finally:
        network.cpu().train(was_training)
    return torch.cat(correct).double().numpy(), torch.cat(losses).double().numpy()
