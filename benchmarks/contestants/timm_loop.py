"""The training loop of timm's script, with timm's optimizer, schedule and meter."""

from pathlib import Path

import torch
from contestants.task import Prepared, Task, Trained
from timm.optim import create_optimizer_v2
from timm.scheduler import CosineLRScheduler
from timm.utils import AverageMeter
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def prepare(path: Path) -> Prepared:
    task = Task.load(path)
    torch.set_num_threads(task.threads)
    network = task.network()
    if task.device == "cuda":
        network = network.to(memory_format=torch.channels_last)
    loader = DataLoader(TensorDataset(*task.pictures()), task.batch_size, shuffle=True)

    def train() -> Trained:
        task.learns(network)
        optimizer = create_optimizer_v2(network, opt="adamw", lr=task.learning_rate, weight_decay=0.0)
        schedule = CosineLRScheduler(optimizer, t_initial=task.epochs * len(loader), t_in_epochs=False)
        criterion, updates, losses = nn.CrossEntropyLoss(), 0, []
        for _ in range(task.epochs):
            meter = AverageMeter()
            for images, labels in loader:
                if task.device == "cuda":
                    images = images.contiguous(memory_format=torch.channels_last)
                with task.precision():
                    loss = criterion(network(images), labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                updates += 1
                schedule.step_update(num_updates=updates)
                meter.update(loss.item(), len(labels))
            losses.append(meter.avg)
        return {"losses": losses}

    return train
