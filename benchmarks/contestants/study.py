"""A study over depth and learning rates, and what everybody who runs it starts from."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from contestants.ours import store_of
from contestants.task import Task

from thawline.artifacts import CARD, MODEL, Artifacts
from thawline.config.composition import compose, to_config
from thawline.config.sections import Config, Contender
from thawline.data.store import write_store
from thawline.models.card import ModelCard
from thawline.models.checkpoint import save_model

ROOT = Path(__file__).resolve().parents[2]
SEED = 999
"""Of every trial: of the head and of the order of the pictures. What our search takes."""


@dataclass(frozen=True)
class Study:
    """Recipes for `task`'s network and pictures, the last fifth of which validate; `folder` is where
    artifacts and studies are. `overrides` are of our configuration; `given` are the recipes to try where
    somebody else has chosen them: `depth`, `head_lr`, `body_lr`."""

    folder: str
    task: dict[str, Any]
    overrides: tuple[str, ...] = ()
    given: tuple[dict[str, Any], ...] = ()

    @classmethod
    def load(cls, path: Path) -> "Study":
        return cls(**json.loads(path.read_text(encoding="utf-8")))

    def save(self) -> Path:
        path = Path(self.folder) / "study.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")
        return path

    @property
    def training(self) -> Task:
        return Task(**self.task)

    @property
    def artifacts(self) -> Artifacts:
        return Artifacts.under(Path(self.folder))

    def config(self) -> Config:
        task = self.training
        fixed = [
            f"finetune.epochs={task.epochs}",
            f"finetune.batch_size={task.batch_size}",
            f"finetune.body_lr={task.learning_rate}",
            "finetune.weight_decay=0",
            "finetune.schedule=constant",
            "finetune.warmup=0",
            "search.validation=holdout",
            "trainer.accelerator=cpu",
        ]
        config = to_config(compose(ROOT, [*fixed, *self.overrides]))
        config.contenders = [Contender.finetuned]
        return config

    def begin(self) -> None:
        """What the stages before the search leave; the network has the task's first weights."""
        task, artifacts = self.training, self.artifacts
        store = store_of(task)
        split = pd.Series("train", index=store.manifest.index)
        split.iloc[-(len(store) // 5) :] = "val"
        write_store(
            artifacts.data_output("target"),
            store.images,
            store.manifest.assign(split=split),
            store.classes,
            store.transform,
        )
        origin = task.source or "random"
        card = ModelCard(task.architecture, {}, store.classes, store.transform, origin=origin)
        folder = artifacts.stage_output("replace_head")
        save_model(folder / MODEL, folder / CARD, task.network(), card)
