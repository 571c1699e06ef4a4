"""The LightningModule that every training uses: pretraining, trials, fine-tuning, the baseline."""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional

from thawline.config.errors import UserError
from thawline.config.sections import Keep, Optimization
from thawline.models.cuts import logits_of
from thawline.training.optimization import Group, build_optimizer, factor

COLUMNS = ("epoch", "train_loss", "val_loss", "val_accuracy", "seconds")

AUXILIARY_WEIGHT = 0.3
"""Of an auxiliary head's loss, where a network has one (Szegedy et al. 2015, GoogLeNet)."""

Row = dict[str, float]
"""One finished epoch, with the keys `COLUMNS`."""


class TrainingDivergedError(UserError):
    """The loss is no longer a finite number."""


class Classifier(pl.LightningModule):
    """Cross-entropy training of `network` on its parameter groups.

    `history` holds one row per finished epoch with the keys `COLUMNS`; validation entries are NaN
    where there are no validation pictures.

    Args:
        network: pictures (B, C, H, W) to logits (B, classes). Its `train()` decides what stays in
            evaluation mode (a frozen prefix does).
        groups: what learns, and how fast.
        class_weights: (classes,) factors of the loss, or None.
        seed: decides dropout and stochastic depth, step by step, so that a resumed training repeats
            an uninterrupted one.
        after_epoch: called with each finished epoch's row; may raise to end the training.
        after_step: called with the number of optimizer steps done so far.
    """

    def __init__(
        self,
        network: nn.Module,
        groups: tuple[Group, ...],
        settings: Optimization,
        *,
        seed: int,
        class_weights: torch.Tensor | None = None,
        keep: Keep = Keep.last,
        after_epoch: Sequence[Callable[[Row], None]] = (),
        after_step: Sequence[Callable[[int], None]] = (),
    ) -> None:
        super().__init__()
        self.network = network
        self.groups = groups
        self.settings = settings
        self.seed = seed
        self.keep = keep
        self.after_epoch = (refuse_divergence, *after_epoch)
        self.after_step = tuple(after_step)
        self.class_weights: torch.Tensor | None
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.history: list[Row] = []
        self.best: dict[str, torch.Tensor] | None = None
        self._started = 0.0
        self._train: list[torch.Tensor] = []
        self._val: list[torch.Tensor] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network(images)

    def configure_optimizers(self) -> Any:
        optimizer = build_optimizer(self.groups, self.settings)
        steps = int(self.trainer.estimated_stepping_batches)
        at = factor(self.settings.schedule, self.settings.warmup, steps)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, at)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_train_epoch_start(self) -> None:
        self._started = time.monotonic()
        loader = self.trainer.train_dataloader
        if loader is not None:
            loader.set_epoch(self.current_epoch)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        torch.manual_seed(self.seed * 1_000_003 + self.global_step)

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:  # noqa: ARG002
        images, labels, _ = batch
        logits, auxiliary = logits_of(self.network(images))
        loss = self.loss(logits, labels)
        for each in auxiliary:
            loss = loss + AUXILIARY_WEIGHT * self.loss(each, labels)
        # kept on the device: reading the value here would wait for the GPU at every step
        self._train.append(torch.stack([loss.detach() * len(labels), loss.new_tensor(len(labels))]))
        return loss

    def loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Cross-entropy with class weights and label smoothing."""
        smoothing = self.settings.label_smoothing
        return functional.cross_entropy(logits, labels, weight=self.class_weights, label_smoothing=smoothing)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        for listener in self.after_step:
            listener(self.global_step)

    def validation_step(self, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        images, labels, _ = batch
        logits = logits_of(self.network(images))[0].float()
        loss = functional.cross_entropy(logits, labels, reduction="sum")
        correct = (logits.argmax(1) == labels).sum()
        self._val.append(torch.stack([loss, correct.float(), loss.new_tensor(len(labels))]))

    def on_validation_epoch_end(self) -> None:
        loss, correct, count = torch.stack(self._val).cpu().double().sum(0).tolist()
        self._val.clear()
        self._validated = (loss / count, correct / count)
        self.log("val_loss", loss / count)

    def on_train_epoch_end(self) -> None:
        total, count = torch.stack(self._train).cpu().double().sum(0).tolist()
        self._train.clear()
        val_loss, val_accuracy = getattr(self, "_validated", (float("nan"), float("nan")))
        row = (
            self.current_epoch,
            total / count,
            val_loss,
            val_accuracy,
            time.monotonic() - self._started,
        )
        self.history.append(dict(zip(COLUMNS, row, strict=True)))
        if self.keep is Keep.best and best_epoch(self.history) == self.current_epoch:
            self.best = {name: value.clone() for name, value in self.network.state_dict().items()}
        for listener in self.after_epoch:
            listener(self.history[-1])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["thawline"] = {"history": self.history, "best": self.best}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.history = checkpoint["thawline"]["history"]
        self.best = checkpoint["thawline"]["best"]


def refuse_divergence(row: Row) -> None:
    """Ends a training whose loss is infinite or NaN: everything after it is lost time."""
    if not math.isfinite(row["train_loss"]):
        raise TrainingDivergedError(
            f"the training loss became {row['train_loss']} in epoch {row['epoch'] + 1}.\n"
            "  lower the learning rate, or raise warmup"
        )


def best_epoch(history: list[Row]) -> int:
    """The epoch with the best validation accuracy; ties go to the lower loss, then the earlier."""
    best = min(history, key=lambda row: (-row["val_accuracy"], row["val_loss"], row["epoch"]))
    return int(best["epoch"])
