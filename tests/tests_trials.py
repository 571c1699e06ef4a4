"""A contender's study on toy pictures: its configuration, and running it."""

from collections.abc import Callable
from typing import Any

import optuna

from thawline import tracking
from thawline.artifacts import Artifacts
from thawline.config.sections import (
    Config,
    Contender,
    Evaluate,
    Finetune,
    PrunerName,
    SamplerName,
    Search,
    Space,
    Trainer,
)
from thawline.search.study.run import run_study
from thawline.search.trial.trials import Trials

Make = Callable[..., Config]
Ran = tuple[Trials, optuna.Study]


def config_of(
    runs: str, contender: Contender = Contender.finetuned, recipe: dict[str, Any] | None = None, **search: Any
) -> Config:
    """A random search of three trials of one epoch at any depth, unless settings of the `recipe` or the
    search (`depths`, too) say otherwise; MLflow's store is `runs`."""
    quick = {"trials": 3, "sampler": SamplerName.random, "pruner": PrunerName.none, "known": []}
    if "depths" in search:
        quick["space"] = Space(depths=search.pop("depths"))
    fields = {"epochs": 1, "batch_size": 8, "body_lr": 1e-2, "depth": 1, **(recipe or {})}
    config = Config(
        contenders=[contender],
        trainer=Trainer(accelerator="cpu", threads=1),
        finetune=Finetune(**fields),
        search=Search(**quick | search),
        evaluate=Evaluate(resamples=100),
    )
    config.tracking.uri = runs
    return config


def run(config: Config, artifacts: Artifacts) -> Ran:
    tracking.connect(config.tracking.uri, config.tracking.experiment, artifacts.root)
    tags = {"seed": 0, "data_fingerprint": ""}
    trials = Trials(config, artifacts)
    with tracking.run("search", stage="search", parameters={}, tags=tags) as parent:
        return trials, run_study(Trials, config, artifacts, parent.id, "search", trials)
