"""The stage that makes the source model: trained from scratch, or taken from weights."""

import logging
import shutil
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn

from thawline import tracking
from thawline.artifacts import (
    CARD,
    COSTS,
    HISTORY,
    MODEL,
    Artifacts,
    exclusive,
    fingerprint,
    write_json,
    write_table,
)
from thawline.config.sections import Config
from thawline.data.batches import Batches, largest_part
from thawline.data.naming import called
from thawline.data.recorded import learned_from
from thawline.data.store import Store, open_store
from thawline.identity import code_identity
from thawline.machine import leads
from thawline.models.card import ModelCard
from thawline.models.checkpoint import save_model
from thawline.models.device import prepare_machine
from thawline.models.weights import source_model_from_weights
from thawline.models.zoo import build
from thawline.progress import Advance, progress
from thawline.training.batches import batches
from thawline.training.by_heart import by_heart
from thawline.training.history import COLUMNS, Row, refuse_divergence_at_last
from thawline.training.memory import of_attempt, with_less_memory
from thawline.training.optimization import groups
from thawline.training.parts import parts_that_fit
from thawline.training.processes import join, same_everywhere
from thawline.training.recipe import computing, lock_of, plain

log = logging.getLogger(__name__)


def pretrain(config: Config, artifacts: Artifacts) -> None:
    """Write the source model, its card, history.csv and costs.json.

    Of several processes each takes part in the training, and the one that leads writes.
    """
    started, warning = time.monotonic(), None
    folder = artifacts.stage_output("pretrain")
    prepare_machine(config.trainer)
    if config.source.weights is not None:
        network, card = source_model_from_weights(config)
        save_model(folder / MODEL, folder / CARD, network, card)
        write_history(folder / HISTORY, {config.seed: []})
    else:
        join(config.trainer)
        store = open_store(artifacts.data("source"))
        if leads():
            tracking.connect(config.tracking.uri, config.tracking.experiment, artifacts.root)
            tracking.reconcile()
        warning = _train(config, store, folder, artifacts.checkpoints)
    if leads():
        told = {"warning": warning} if warning else {}
        write_json(folder / COSTS, {"seconds": time.monotonic() - started, **told})


def _train(config: Config, store: Store, folder: Path, checkpoints: Path) -> str | None:
    """Train on the store and save to `folder`; the checkpoint goes only when all that is done. Return what is
    to be said of the training (see `by_heart`)."""
    model, settings = config.model, config.pretrain
    parameters = {**plain(settings), "architecture": model.architecture, "options": dict(model.options)}
    tags = {"seed": config.seed, "data_fingerprint": store.fingerprint}
    train = batches(
        store.part("train"),
        settings.batch_size,
        seed=config.seed,
        augmentation=settings.augmentation,
        mirror=config.source.mirror,
    )
    decisive = [parameters, tags, config.source.mirror, computing(config.trainer)]
    decisive += [code_identity(__name__, rows=()), torch.get_num_threads(), torch.cuda.is_available()]
    checkpoint = checkpoints / f"pretrain-{fingerprint(decisive)[:12]}"
    described: dict[str, Any] = {"parameters": parameters, "tags": tags, "lock": lock_of(config)}
    described["once"] = checkpoint.name
    described["data"] = learned_from(config.source, store)
    with (
        exclusive(checkpoint.with_suffix(".lock")) if leads() else nullcontext(),
        tracking.run("pretrain", stage="pretrain", **described) if leads() else nullcontext() as run,
        progress("pretrain", settings.epochs * len(train)) as advance,
    ):
        same_everywhere(checkpoint.name, "code, data and settings (their hash)")
        after_step = _show_steps(advance)
        (network, history), _ = with_less_memory(
            lambda accumulate: _fit(config, store, train, after_step, checkpoint, accumulate),
            settings.batch_size,
        )
        if run is None:
            return None
        # first to disk: the tracking server may be gone by now
        origin = f"pretrained on {called(config.source)}"
        card = ModelCard(model.architecture, dict(model.options), store.classes, store.transform, origin)
        card = save_model(folder / MODEL, folder / CARD, network, card)
        write_history(folder / HISTORY, {config.seed: history})
        run.log_history(history)
        run.log_dict(CARD, card.to_dict())
        warning = by_heart(history, len(history) - 1, store.part("val").labels)
        if warning:
            log.warning("pretrain: %s", warning)
            run.log_tags({"warning": warning})
        shutil.rmtree(checkpoint, ignore_errors=True)
        return warning


def _fit(
    config: Config,
    store: Store,
    train: Batches,
    after_step: Callable[[int], None],
    checkpoint: Path,
    accumulate: int,
) -> tuple[nn.Module, list[Row]]:
    """Train once from random weights, each batch computed in `accumulate` parts; return the network and the
    history."""
    # Lightning takes seconds to load, and weights that are taken over need none
    from thawline.training.fit import Classifier, fit

    model, settings, transform = config.model, config.pretrain, store.transform
    classes = len(store.classes)
    network = build(model.architecture, classes, transform.channels, seed=config.seed, **model.options)
    fitting = parts_that_fit(network, transform.shape, settings.batch_size, config.trainer)
    accumulate = max(accumulate, fitting)
    learning = groups(
        "all",
        network.parameters(),
        settings.learning_rate,
        settings.weight_decay,
        decay_all=settings.decay_all,
    )
    classifier = Classifier(
        network,
        learning,
        settings,
        seed=config.seed,
        classes=classes,
        identity={"accumulate": accumulate},
        after_epoch=[say],
        after_step=[after_step],
    )
    history, _ = fit(
        classifier,
        train,
        batches(store.part("val"), largest_part(settings.batch_size, accumulate)),
        config.trainer,
        checkpoint=of_attempt(checkpoint, accumulate),
        accumulate=accumulate,
    )
    refuse_divergence_at_last(history[-1])
    return network, history


def _show_steps(advance: Advance) -> Callable[[int], None]:
    """Return an `after_step` listener that advances a progress display to the steps done so far."""
    shown = 0

    def listener(step: int) -> None:
        nonlocal shown
        advance(step - shown)
        shown = step

    return listener


def say(row: Row) -> None:
    """Log how an epoch went."""
    log.info(
        "pretrain: epoch %d, loss %.3f, validation accuracy %.3f",
        row["epoch"] + 1,
        row["train_loss"],
        row["val_accuracy"],
    )


def write_history(path: Path, histories: dict[int, list[Row]]) -> None:
    """Write history.csv: one row per seed and epoch."""
    rows = [{"seed": seed, **row} for seed, history in histories.items() for row in history]
    write_table(path, pd.DataFrame(rows, columns=["seed", *COLUMNS]))
