"""A bare PyTorch loop: every epoch computes the whole network."""

from collections.abc import Sequence
from pathlib import Path

import torch
from contestants.task import Prepared, Task, Trained
from torch import nn
from torch.nn import functional


def prepare(path: Path, layout: torch.memory_format = torch.contiguous_format) -> Prepared:
    task = Task.load(path)
    torch.set_num_threads(task.threads)
    network, (images, labels) = task.network().to(memory_format=layout), task.pictures()
    images = images.contiguous(memory_format=layout)

    def train() -> Trained:
        task.learns(network)
        learning = [each for each in network.parameters() if each.requires_grad]
        # what everybody writes
        optimizer = torch.optim.AdamW(learning, task.learning_rate, weight_decay=0.0)
        return {"losses": loop(task, network, images, labels, optimizer)}

    return train


def loop(
    task: Task,
    network: nn.Module,
    inputs: torch.Tensor,
    labels: torch.Tensor,
    optimizer: torch.optim.Optimizer,
) -> Sequence[float]:
    """The mean loss of each epoch."""
    losses = []
    for epoch in range(task.epochs):
        total = torch.zeros((), device=task.device)
        for places in task.batches(epoch):
            with task.precision():
                loss = functional.cross_entropy(network(inputs[places]), labels[places])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(places)
        losses.append(float(total) / len(inputs))
    return losses
