"""fastai's `Learner`, everything thawed."""

from pathlib import Path

import fastai.callback.progress  # noqa: F401, gives the learner no_bar
import torch
from contestants.task import Prepared, Task, Trained
from fastai.data.core import DataLoaders
from fastai.data.load import DataLoader
from fastai.learner import Learner
from fastai.metrics import accuracy
from fastai.optimizer import Adam
from torch import nn
from torch.utils.data import TensorDataset


def prepare(path: Path) -> Prepared:
    task = Task.load(path)
    torch.set_num_threads(task.threads)
    dataset = TensorDataset(*task.pictures())
    loaders = DataLoaders(
        DataLoader(dataset, task.batch_size, shuffle=True, num_workers=0, device=torch.device(task.device)),
        DataLoader(dataset, task.batch_size, num_workers=0, device=torch.device(task.device)),
    )
    learner = Learner(
        loaders, task.network(), loss_func=nn.CrossEntropyLoss(), opt_func=Adam, metrics=accuracy, wd=0.0
    )
    if task.device == "cuda":
        learner = learner.to_bf16()

    def train() -> Trained:
        with learner.no_bar(), learner.no_logging():
            # ours does not validate here, so this does not
            learner.fit(task.epochs, task.learning_rate, cbs=[_no_validation()])
        return {}

    return train


def _no_validation() -> object:
    from fastai.callback.core import Callback, CancelValidException

    class NoValidation(Callback):
        def before_validate(self) -> None:
            raise CancelValidException

    return NoValidation()
