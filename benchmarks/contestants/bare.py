"""A bare PyTorch loop: every epoch computes the whole network."""

from pathlib import Path

import torch
from contestants.task import Prepared, Task, Trained
from torch.nn import functional


def prepare(path: Path) -> Prepared:
    task = Task.load(path)
    torch.set_num_threads(task.threads)
    network, (images, labels) = task.network(), task.pictures()

    def train() -> Trained:
        task.learns(network)
        learning = [each for each in network.parameters() if each.requires_grad]
        optimizer = torch.optim.AdamW(learning, task.learning_rate, weight_decay=0.0)
        losses = []
        for epoch in range(task.epochs):
            total = torch.zeros((), device=task.device)
            for places in task.batches(epoch):
                with task.precision():
                    loss = functional.cross_entropy(network(images[places]), labels[places])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.detach() * len(places)
            losses.append(float(total) / len(images))
        return {"losses": losses}

    return train
