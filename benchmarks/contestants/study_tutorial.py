"""Optuna's tutorial with Lightning: one trial after the other, each a `Trainer.fit` of the whole network."""

import logging
import time
import warnings
from pathlib import Path
from typing import Any

import optuna
import pytorch_lightning as pl
import torch
from contestants.study import SEED, Study
from contestants.task import Prepared, Trained
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from thawline.artifacts import CARD, MODEL
from thawline.data.store import open_store
from thawline.models.checkpoint import load_model
from thawline.models.cuts import units
from thawline.models.freezing import freeze
from thawline.models.head import head_parameters, with_fresh_head
from thawline.training.batches import batches


class Module(pl.LightningModule):
    def __init__(self, network: nn.Module, held: list[str], head: set[str], rates: list[float]) -> None:
        super().__init__()
        self.network, self.held, self.head, self.rates = network, held, head, rates

    def on_train_epoch_start(self) -> None:
        for name in self.held:
            self.network.get_submodule(name).eval()

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> torch.Tensor:
        images, labels = batch
        loss = functional.cross_entropy(self.network(images), labels)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> None:
        images, labels = batch
        logits = self.network(images)
        self.log("val_loss", functional.cross_entropy(logits, labels))
        self.log("val_accuracy", (logits.argmax(1) == labels).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        learning = {name: each for name, each in self.network.named_parameters() if each.requires_grad}
        groups = [
            {"params": [each for name, each in learning.items() if (name in self.head) is head], "lr": rate}
            for head, rate in zip((True, False), self.rates, strict=True)
        ]
        return torch.optim.AdamW([group for group in groups if group["params"]], weight_decay=0.0)


class Order(torch.utils.data.Sampler[list[int]]):
    """The batches our trainings see, so that every trial is the same training."""

    def __init__(self, epochs: list[list[list[int]]]) -> None:
        self.epochs, self.epoch = epochs, -1

    def __len__(self) -> int:
        return len(self.epochs[0])

    def __iter__(self) -> Any:
        self.epoch += 1
        return iter(self.epochs[self.epoch % len(self.epochs)])


def prepare(path: Path) -> Prepared:
    study = Study.load(path)
    task, artifacts = study.training, study.artifacts
    torch.set_num_threads(task.threads)
    for name in ("pytorch_lightning", "optuna"):
        logging.getLogger(name).setLevel(logging.ERROR)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore")
    store = open_store(artifacts.data("target"))
    train, val = (_tensors(store.part(name)) for name in ("train", "val"))
    given, epochs = batches(store.part("train"), task.batch_size, seed=SEED), []
    for epoch in range(task.epochs):
        given.set_epoch(epoch)
        epochs.append([indices.tolist() for _, _, indices in given])
    initial = artifacts.stage("replace_head")
    trials: list[dict[str, Any]] = []

    def objective(trial: optuna.Trial) -> float:
        network = with_fresh_head(load_model(initial / MODEL, initial / CARD)[0], SEED)
        depth = trial.suggest_int("depth", 0, len(units(network)))
        head_lr = trial.suggest_float("head_lr", 1e-6, 1.0, log=True)
        body_lr = trial.suggest_float("body_lr", 1e-6, 1.0, log=True)
        freeze(network, depth).train()
        held = [name for name, each in network.named_modules() if name and not each.training]
        module = Module(network, held, head_parameters(network), [head_lr, body_lr])
        trainer = pl.Trainer(
            accelerator="cpu",
            max_epochs=task.epochs,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, DataLoader(train, batch_sampler=Order(epochs)), DataLoader(val, 256))
        return float(trainer.callback_metrics["val_accuracy"])

    def told(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:  # noqa: ARG001
        trials.append({**trial.params, "value": trial.value, "finished": time.perf_counter() - started[0]})

    started: list[float] = []

    def run() -> Trained:
        started.append(time.perf_counter())
        optimized = optuna.create_study(direction="maximize")
        for recipe in study.given:
            optimized.enqueue_trial(recipe)
        optimized.optimize(objective, n_trials=len(study.given), callbacks=[told])
        return {"trials": trials}

    return run


def _tensors(store: Any) -> TensorDataset:
    images, labels, _ = next(iter(batches(store, len(store))))
    return TensorDataset(images, labels)
