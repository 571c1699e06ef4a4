"""Lightning with its own `BackboneFinetuning` as it comes: it freezes everything but the head and the
BatchNorm layers, which go on learning, so that gradients are computed of the whole network."""

import logging
import warnings
from pathlib import Path

import pytorch_lightning as pl
import torch
from contestants.task import Prepared, Task, Trained
from pytorch_lightning.callbacks import BackboneFinetuning
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset


class Module(pl.LightningModule):
    def __init__(self, network: nn.Module, rate: float) -> None:
        super().__init__()
        self.head, self.backbone, self.rate = network.fc, network, rate
        network.fc = nn.Identity()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.backbone(images))

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> torch.Tensor:
        images, labels = batch
        loss = functional.cross_entropy(self(images), labels)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        learning = [each for each in self.parameters() if each.requires_grad]
        return torch.optim.AdamW(learning, self.rate, weight_decay=0.0)


def prepare(path: Path) -> Prepared:
    task = Task.load(path)
    torch.set_num_threads(task.threads)
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    module = Module(task.network(), task.learning_rate)
    loader = DataLoader(TensorDataset(*task.pictures()), task.batch_size, shuffle=True)
    never = BackboneFinetuning(unfreeze_backbone_at_epoch=task.epochs + 1)

    def train() -> Trained:
        trainer = pl.Trainer(
            accelerator="gpu" if task.device == "cuda" else "cpu",
            max_epochs=task.epochs,
            callbacks=[never] if task.depth else [],
            precision="bf16-mixed" if task.device == "cuda" else "32-true",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, loader)
        return {}

    return train
