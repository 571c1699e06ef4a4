"""Fine-tuning by a recipe, and the stage that fine-tunes the chosen one once per seed."""

import json
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from thawline import tracking
from thawline.artifacts import (
    CARD,
    COSTS,
    HISTORY,
    MODEL,
    RECIPE,
    Artifacts,
    atomic_path,
    exclusive,
    file_hash,
    fingerprint,
    seed_weights,
    write_json,
)
from thawline.config.sections import ClassWeights, Config, Finetune, Start, Trainer
from thawline.data.store import Store, open_store
from thawline.models.checkpoint import ModelCard, build_random, load_model, save_model
from thawline.models.freezing import freeze
from thawline.models.head import head_parameters, with_fresh_head
from thawline.progress import progress
from thawline.training.classifier import Classifier, Row
from thawline.training.code import code_version
from thawline.training.fit import Fitted, batches, fit, prepare_machine, show
from thawline.training.optimization import Group, groups
from thawline.training.pretrain import write_history
from thawline.training.recipe import Chosen, head_rate, lock_of, plain, read_chosen, tracked

VALIDATION_BATCH = 256


def learning_groups(network: nn.Module, recipe: Finetune) -> tuple[Group, ...]:
    """Parameter groups of everything that is not frozen: what starts random at the head's rate, what
    comes from the source model at the body's."""
    head = head_parameters(network)
    fresh: list[nn.Parameter] = []
    copied: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            random = recipe.start is Start.random or name in head
            (fresh if random else copied).append(parameter)
    found = groups("head", fresh, head_rate(recipe), recipe.weight_decay)
    if copied:
        assert recipe.body_lr is not None, "a body that is not frozen needs body_lr"
        found += groups("body", copied, recipe.body_lr, recipe.weight_decay)
    return found


def balanced_weights(labels: np.ndarray, classes: int) -> torch.Tensor:
    """(classes,) float32: the inverse of each class's share of `labels`, all 1 for equal shares
    (King & Zeng 2001; scikit-learn's `balanced`)."""
    counts = np.bincount(labels, minlength=classes)
    return torch.tensor(len(labels) / (classes * np.maximum(counts, 1)), dtype=torch.float32)


def finetune_once(
    network: nn.Module,
    recipe: Finetune,
    depth: int,
    store: Store,
    trainer: Trainer,
    *,
    seed: int,
    mirror: bool,
    after_epoch: Sequence[Callable[[Row], None]] = (),
    checkpoint: Path | None = None,
) -> Fitted:
    """Train `network` in place on the store's training pictures, `depth` leading units frozen.

    Raises:
        TrainingDivergedError: the loss became infinite or NaN.
    """
    frozen = freeze(network, depth)
    train, val = store.part("train"), store.part("val")
    weighted = recipe.class_weights is ClassWeights.balanced
    classifier = Classifier(
        frozen,
        learning_groups(network, recipe),
        recipe,
        seed=seed,
        class_weights=balanced_weights(train.labels, len(store.classes)) if weighted else None,
        keep=recipe.keep,
        after_epoch=after_epoch,
    )
    return fit(
        classifier,
        batches(train, recipe.batch_size, seed=seed, augmentation=recipe.augmentation, mirror=mirror),
        batches(val, VALIDATION_BATCH),
        trainer,
        early_stopping=recipe.early_stopping,
        checkpoint=checkpoint,
    )


def finetune(config: Config, artifacts: Artifacts) -> None:
    """Write weights/seed_<k>.safetensors for every seed, card.json, history.csv and costs.json of
    `config.contender`. Seeds finished before an interruption are not trained again."""
    prepare_machine(config.trainer)
    name = config.contender.name
    chosen = read_chosen(artifacts.stage("search", name) / RECIPE)
    store = open_store(artifacts.data("target"))
    initial = artifacts.stage("replace_head")
    tracking.connect(config.tracking.uri, config.tracking.experiment, artifacts.root)
    tracking.reconcile()
    work = artifacts.checkpoints / _work_name(config, chosen, store, file_hash(initial / MODEL))
    total = chosen.recipe.seeds * chosen.recipe.epochs
    with exclusive(work.with_suffix(".lock")), progress(f"finetune {name}", total) as advance:
        for index in range(chosen.recipe.seeds):
            seed = config.seed * 1000 + index
            if not (work / f"{seed}.json").exists():
                _finetune_seed(config, chosen, store, initial, work, seed, show(advance))
            else:
                advance(chosen.recipe.epochs)
        _collect(work, artifacts.stage_output("finetune", name))


def _work_name(config: Config, chosen: Chosen, store: Store, initial_hash: str) -> str:
    parts = [tracked(chosen.recipe, chosen.depth, chosen.unit), store.fingerprint, initial_hash]
    parts += [plain(config.trainer), code_version()]
    return f"finetune-{chosen.contender.name}-{fingerprint([*parts, config.seed, config.target.mirror])[:12]}"


def _finetune_seed(
    config: Config,
    chosen: Chosen,
    store: Store,
    initial: Path,
    work: Path,
    seed: int,
    after_epoch: Callable[[Row], None],
) -> None:
    started = time.monotonic()
    network, card = initial_network(chosen.recipe, initial, seed)
    tags = {
        "contender": chosen.contender.name,
        "architecture": card.architecture,
        "seed": seed,
        "data_fingerprint": store.fingerprint,
    }
    with tracking.run(
        f"{chosen.contender.name} {seed}",
        stage="finetune",
        parameters=tracked(chosen.recipe, chosen.depth, chosen.unit),
        tags=tags,
        lock=lock_of(config),
    ) as run:
        fitted = finetune_once(
            network,
            chosen.recipe,
            chosen.depth,
            store,
            config.trainer,
            seed=seed,
            mirror=config.target.mirror,
            after_epoch=[after_epoch],
            checkpoint=work / f"seed-{seed}",
        )
        # first to disk: the tracking server may be gone by now
        save_model(work / seed_weights(seed), work / CARD, network, card)
        run.log_history(fitted.curve)
        run.log_artifact(work / CARD)
    cost = {"seconds": time.monotonic() - started, "epoch": fitted.epoch}
    # written last: its presence says that this seed is finished
    write_json(work / f"{seed}.json", {"history": fitted.history, "cost": cost})


def initial_network(recipe: Finetune, initial: Path, seed: int) -> tuple[nn.Module, ModelCard]:
    """The network one fine-tuning starts from: the initial target model with a head of its own, or
    (from scratch) the same architecture with every weight random."""
    network, card = load_model(initial / MODEL, initial / CARD)
    if recipe.start is Start.random:
        return build_random(card, seed), card
    return with_fresh_head(network, seed), card


def _collect(work: Path, folder: Path) -> None:
    """Put the finished seeds where DVC expects them, then drop the working folder."""
    results = {int(path.stem): json.loads(path.read_text()) for path in sorted(work.glob("[0-9]*.json"))}
    for seed in sorted(results):
        target = folder / "weights" / seed_weights(seed)
        _copy(work / seed_weights(seed), target)
    _copy(work / CARD, folder / CARD)
    write_history(folder / HISTORY, {seed: results[seed]["history"] for seed in sorted(results)})
    costs: dict[str, Any] = {str(seed): result["cost"] for seed, result in sorted(results.items())}
    total = sum(cost["seconds"] for cost in costs.values())
    write_json(folder / COSTS, {"seconds": total, "seeds": costs})
    shutil.rmtree(work)


def _copy(source: Path, target: Path) -> None:
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)
