"""The bare PyTorch loop with channels last."""

from pathlib import Path

import torch
from contestants.bare import loop
from contestants.task import Prepared, Task, Trained


def prepare(path: Path) -> Prepared:
    task = Task.load(path)
    torch.set_num_threads(task.threads)
    network, (images, labels) = task.network(), task.pictures()
    network = network.to(memory_format=torch.channels_last)
    images = images.contiguous(memory_format=torch.channels_last)

    def train() -> Trained:
        task.learns(network)
        learning = [each for each in network.parameters() if each.requires_grad]
        optimizer = torch.optim.AdamW(learning, task.learning_rate, weight_decay=0.0)
        return {"losses": loop(task, network, images, labels, optimizer)}

    return train
