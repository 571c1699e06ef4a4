"""A bare PyTorch loop over features that are there already: what is left of a step when the frozen part costs
nothing. Nothing but the steps is timed."""

from pathlib import Path

import torch
from contestants.task import Prepared, Task, Trained
from torch.nn import functional

from thawline.models.freezing import freeze


def prepare(path: Path) -> Prepared:
    task = Task.load(path)
    torch.set_num_threads(task.threads)
    network, (images, labels) = task.network(), task.pictures()
    held = freeze(network, task.depth).to(task.device)
    with torch.no_grad(), task.precision():
        features = torch.cat([held.features(part) for part in images.split(64)])
    suffix = held.suffix.train()

    def train() -> Trained:
        learning = [each for each in suffix.parameters() if each.requires_grad]
        optimizer = torch.optim.AdamW(learning, task.learning_rate, weight_decay=0.0, fused=True)
        losses = []
        for epoch in range(task.epochs):
            total = torch.zeros((), device=task.device)
            for places in task.batches(epoch):
                with task.precision():
                    loss = functional.cross_entropy(suffix(features[places]), labels[places])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.detach() * len(places)
            losses.append(float(total) / len(images))
        return {"losses": losses}

    return train
