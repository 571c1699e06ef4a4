"""Fine-tuning by a recipe, and the stage that fine-tunes each contender's chosen one once per seed."""

import logging
import math
import time
from collections.abc import Callable, Collection
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

from thawline import tracking
from thawline.artifacts import (
    BEFORE_REWARD,
    CARD,
    MODEL,
    RECIPE,
    Artifacts,
    exclusive,
    file_hash,
    fingerprint,
    seed_weights,
    write_json,
)
from thawline.config.sections import Config, Finetune, Start
from thawline.data.recorded import learned_from
from thawline.data.store import Store
from thawline.data.supervision import open_training
from thawline.identity import code_identity
from thawline.machine import leads
from thawline.models.adapters.adapt import adapt
from thawline.models.adapters.adaptation import adaptation_of
from thawline.models.card import ModelCard, read_card
from thawline.models.checkpoint import build_random, load_model, save_model
from thawline.models.cuts import units
from thawline.models.depth import frozen_units
from thawline.models.device import prepare_machine
from thawline.models.head import with_fresh_head
from thawline.models.head_cuts import read_cuts
from thawline.models.selection import require_learning
from thawline.models.state import load_state
from thawline.progress import Advance, progress
from thawline.training.by_heart import by_heart
from thawline.training.features.cache import PrefixCache
from thawline.training.finished import collect, forget_others
from thawline.training.head_cuts import cuts_of
from thawline.training.history import Fitted, Row
from thawline.training.memory import free_memory, of_attempt, with_less_memory
from thawline.training.processes import join, same_everywhere
from thawline.training.recipe import Chosen, computing, lock_of, read_chosen, tracked
from thawline.training.robust import Loss
from thawline.training.soup import finetune_soup

log = logging.getLogger(__name__)


def finetune(config: Config, artifacts: Artifacts) -> None:
    """Write weights/seed_<k>.safetensors for every seed, card.json, history.csv and costs.json of every
    contender; where a reward phase made them, before_reward/ has weights and card of what it began with.

    What was finished before is not trained again: seeds before an interruption, and the contenders of the
    last call whose recipe, data and code are still the same. Of several processes each takes part in the
    trainings, and the one that leads writes.
    """
    prepare_machine(config.trainer)
    join(config.trainer)
    if leads():
        tracking.connect(config.tracking.uri, config.tracking.experiment, artifacts.root)
        tracking.reconcile()
    store = open_training(artifacts)
    for contender in config.contenders:
        _finetune_contender(config, contender.name, store, artifacts)


def _finetune_contender(config: Config, name: str, store: Store, artifacts: Artifacts) -> None:
    chosen = read_chosen(artifacts.stage("search", name) / RECIPE)
    if chosen.recipe.refit:
        store = store.undivided()
    initial = artifacts.stage("replace_head")
    work = artifacts.checkpoints / _work_name(config, chosen, store, file_hash(initial / MODEL))
    cache = PrefixCache(artifacts.prefix, config.trainer)
    with (
        exclusive(work.with_suffix(".lock")) if leads() else nullcontext(),
        progress(f"finetune {name}", chosen.recipe.seeds) as advance,
    ):
        same_everywhere(work.name, "code, data and recipe (their hash)")
        for index in range(chosen.recipe.seeds):
            seed = config.seed * 1000 + index
            finished = work / f"{seed}.json"
            if not same_everywhere(finished.exists(), f"whether there is {finished}"):
                _finetune_seed(config, chosen, store, initial, work, seed, show(advance), cache)
            advance()
        if leads():
            collect(work, artifacts.stage_output("finetune", name))
            forget_others(work)


def show(advance: Advance) -> Callable[[Row], None]:
    """Return an `after_epoch` listener that says how good the training is."""

    def listener(row: Row) -> None:
        asked = "" if math.isnan(row["val_accuracy"]) else f", validation accuracy {row['val_accuracy']:.3f}"
        advance(0, f"loss {row['train_loss']:.3f}{asked}")

    return listener


def _work_name(config: Config, chosen: Chosen, store: Store, initial_hash: str) -> str:
    parts: list[Any] = [tracked(chosen.recipe), chosen.depth, store.fingerprint, initial_hash]
    method = chosen.recipe.method
    code = code_identity(__name__, rows=(repr(method.row),), also=(method.module,))
    parts += [computing(config.trainer), code, torch.get_num_threads(), torch.cuda.is_available()]
    return f"finetune-{chosen.contender.name}-{fingerprint([*parts, config.seed, config.target.mirror])[:12]}"


def _finetune_seed(
    config: Config,
    chosen: Chosen,
    store: Store,
    initial: Path,
    work: Path,
    seed: int,
    after_epoch: Callable[[Row], None],
    cache: PrefixCache,
) -> None:
    """Fine-tune once from the initial weights and leave in `work` what `collect` wants of this seed."""

    def train(accumulate: int) -> tuple[nn.Module, ModelCard, Fitted]:
        network, card = initial_network(chosen.recipe, initial, seed)
        fitted = finetune_soup(
            network,
            chosen.recipe,
            store,
            config.trainer,
            seed=seed,
            mirror=config.target.mirror,
            after_epoch=[after_epoch],
            checkpoint=of_attempt(work / f"seed-{seed}", accumulate),
            accumulate=accumulate,
            cache=cache,
        )
        return network, card, fitted

    started = time.monotonic()
    # the network of the seed before: what has been cut refers to itself
    free_memory()
    tags = {
        "contender": chosen.contender.name,
        "architecture": read_card(initial / CARD).architecture,
        "seed": seed,
        "data_fingerprint": store.fingerprint,
    }
    opened = tracking.run(
        f"{chosen.contender.name} {seed}",
        stage="finetune",
        parameters=tracked(chosen.recipe, chosen.depth, chosen.unit, linear_head=chosen.linear_head),
        tags=tags,
        lock=lock_of(config),
        once=f"{work.name}-{seed}",
        data=learned_from(config.target, store),
    )
    with opened if leads() else nullcontext() as run:
        (network, card, fitted), accumulate = with_less_memory(train, chosen.recipe.batch_size)
        if run is None:
            return
        # first to disk: the tracking server may be gone by now
        save_model(work / seed_weights(seed), work / CARD, network, card, base=initial / MODEL)
        if fitted.before is not None:
            load_state(network, fitted.before)
            beside = work / BEFORE_REWARD
            save_model(beside / seed_weights(seed), beside / CARD, network, card, base=initial / MODEL)
        run.log_history(fitted.curve)
        run.log_metrics(fitted.cost)
        # a reward may be best paid for always saying the same, and a robust loss does not say how probable
        # labels were: neither is a sign of anything
        telling = fitted.before is None and Loss.of(chosen.recipe).plain
        warning = by_heart(fitted.history, fitted.epoch, store.part("val").labels) if telling else None
        if warning:
            log.warning("%s, seed %d: %s", chosen.contender.name, seed, warning)
            run.log_tags({"warning": warning})
        run.log_artifact(work / CARD)
    cost: dict[str, Any] = {"seconds": time.monotonic() - started, "epoch": fitted.epoch, "cost": fitted.cost}
    if accumulate > 1:
        cost["accumulate"] = accumulate
    if warning:
        cost["warning"] = warning
    if fitted.soup is not None:
        cost["soup"] = list(fitted.soup)
    # written last: its presence says that this seed is finished
    write_json(work / f"{seed}.json", {"history": fitted.history, "cost": cost})


def initial_network(recipe: Finetune, initial: Path, seed: int) -> tuple[nn.Module, ModelCard]:
    """Return what one fine-tuning starts from: the initial target model with a head of its own (on the cuts
    that `recipe` says) and with what the method adds, or (from scratch) the same architecture with every
    weight random."""
    if recipe.start is Start.random:
        card = read_card(initial / CARD)
        return build_random(card, seed), card
    network, card = load_model(initial / MODEL, initial / CARD)
    frozen = frozen_units(recipe.depth, recipe.units, units(network))
    network = read_cuts(with_fresh_head(network, seed), cuts_of(recipe, network), seed=seed)
    return with_method(network, recipe, frozen, seed), card


def with_method(network: nn.Module, recipe: Finetune, frozen: Collection[int], seed: int) -> nn.Module:
    """Add what the method of `recipe` needs to all units of `network` but the `frozen` ones (indices).

    Raises `UserError` when the method finds nothing in these units: nothing to add to, nothing to train.
    """
    adaptation = adaptation_of(recipe, frozen)
    if adaptation is not None:
        network = adapt(network, adaptation, seed=seed)
    require_learning(
        network,
        frozen,
        method=recipe.method,
        frozen_batch_norm=recipe.frozen_batch_norm,
        batch_norm=recipe.batch_norm,
    )
    return network
