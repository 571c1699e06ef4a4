"""A bare PyTorch loop over features that are there already: what is left of a step when the frozen part costs
nothing. Nothing but the steps is timed, and an epoch is trained before."""

import copy
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from contestants.bare import loop
from contestants.task import Prepared, Task, Trained, frozen
from torch import nn


def prepare(path: Path) -> Prepared:
    task = Task.load(path)
    torch.set_num_threads(task.threads)
    network, (images, labels) = task.network(), task.pictures()
    held = frozen(network, task.depth).to(task.device)
    with torch.no_grad(), task.precision():
        features = torch.cat([held.features(part) for part in images.split(64)])
    suffix = held.suffix.train()

    def train(task: Task, suffix: nn.Module) -> Trained:
        learning = [each for each in suffix.parameters() if each.requires_grad]
        optimizer = torch.optim.AdamW(learning, task.learning_rate, weight_decay=0.0, fused=True)
        return {"losses": loop(task, suffix, features, labels, optimizer)}

    train(replace(task, epochs=1), copy.deepcopy(suffix))
    return partial(train, task, suffix)
