"""What a network says of each picture of a part: right or wrong, and at what loss."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from thawline.config.sections import Trainer
from thawline.data.batches import Batches
from thawline.models.cuts import logits_of
from thawline.models.layout import fastest
from thawline.training.fit import device_of


def outcomes(network: nn.Module, pictures: Batches, trainer: Trainer) -> tuple[np.ndarray, np.ndarray]:
    """Of each of the `pictures`, in order: 1.0 where the network is right and 0.0 where it is wrong, (N,),
    and the cross-entropy, (N,) in nats.

    The network is in evaluation mode and on the device Lightning trains on; it comes back on the CPU, in the
    mode it was in.
    """
    device, was_training = device_of(trainer), network.training
    network.to(device).eval()
    correct, losses = [], []
    try:
        with fastest(network), torch.inference_mode():
            for images, labels, _ in pictures.on(device):
                logits = logits_of(network(images))[0].float()
                correct.append((logits.argmax(1) == labels).cpu())
                losses.append(functional.cross_entropy(logits, labels, reduction="none").cpu())
    finally:
        network.cpu().train(was_training)
    return torch.cat(correct).double().numpy(), torch.cat(losses).double().numpy()
