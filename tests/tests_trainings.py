"""Short trainings of small networks, and what is compared of them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from thawline.config.sections import Finetune, Phases, Trainer
from thawline.data.store import Store
from thawline.models.adapters.adapt import adapt
from thawline.models.adapters.adaptation import adaptation_of
from thawline.models.cuts import units
from thawline.models.depth import frozen_units
from thawline.training.classifier import Classifier
from thawline.training.history import Fitted, Row
from thawline.training.soup import finetune_soup

Build = Callable[[int], nn.Module]
CPU = Trainer(accelerator="cpu", threads=1)
PROBE, GRADUAL = {"phases": Phases.probe_first, "epochs": 4}, {"phases": Phases.gradual, "epochs": 6}


@dataclass
class Calm:
    """A training that nothing disturbed: `states` are the hashes of all tensors at its start and after each
    epoch, `end` those of the network that it leaves."""

    fitted: Fitted
    states: list[dict[str, str]]
    end: dict[str, str]


Calms = Callable[..., Calm]


def recipe(**changes: object) -> Finetune:
    values = {"epochs": 2, "batch_size": 4, "body_lr": 1e-2, "head_lr": 5e-2}
    return Finetune(**{**values, **changes})  # type: ignore[arg-type]


def train(
    network: nn.Module,
    store: Store,
    *,
    seed: int = 0,
    after: Callable[[Row], None] | None = None,
    checkpoint: Path | None = None,
    function: Callable[..., Fitted] = finetune_soup,
    **changes: object,
) -> Fitted:
    settings = recipe(**changes)
    adaptation = adaptation_of(settings, frozen_units(settings.depth, settings.units, units(network)))
    if adaptation is not None:
        network = adapt(network, adaptation, seed=0)
    listeners = [] if after is None else [after]
    return function(
        network, settings, store, CPU, seed=seed, mirror=False, after_epoch=listeners, checkpoint=checkpoint
    )


def die_after(epoch: int) -> Callable[[Row], None]:
    def listener(row: Row) -> None:
        if row["epoch"] == epoch:
            raise SystemError("killed")

    return listener


def comparable(fitted: Fitted) -> list[Row]:
    """The history without times; NaN equals nothing, so it is written in letters."""
    return [{name: repr(value) for name, value in row.items() if name != "seconds"} for row in fitted.history]  # type: ignore[misc]


def short_of_memory(patch: pytest.MonkeyPatch, epoch: int) -> None:
    """From this epoch on there is room for no more than 4 pictures."""
    step = Classifier.batch_loss

    def stepped(self: Classifier, batch: Any) -> torch.Tensor:
        if self.current_epoch >= epoch and len(batch[1]) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return step(self, batch)

    patch.setattr(Classifier, "batch_loss", stepped)


def let_be_best(epoch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the validation says: the epoch with this number, and before it the last one."""
    for module in ("classifier", "run"):
        monkeypatch.setattr(
            f"thawline.training.{module}.best_epoch", lambda history: min(epoch, len(history) - 1)
        )


def die(*_: object, **__: object) -> None:
    raise SystemError("killed")
