"""The stage that makes the bundle `thawline predict` uses, and the model in other formats beside it."""

import math
from dataclasses import replace
from pathlib import Path

import pandas as pd

from thawline.artifacts import (
    CARD,
    COSTS,
    HISTORY,
    LEFT_OUT,
    MODEL,
    RECIPE,
    Artifacts,
    read_json,
    seed_weights,
)
from thawline.config.sections import Config, Contender, ExportFormat
from thawline.data.costs import configured_costs
from thawline.data.supervision import open_training
from thawline.models.adapters.adapt import merge
from thawline.models.answer import save_answering
from thawline.models.checkpoint import load_model, save_model
from thawline.models.device import in_half_precision, prepare_device
from thawline.training.answering import answering_of, by_stored_features, solved_alone
from thawline.training.features.cache import FILL_BATCH, PrefixCache
from thawline.training.recipe import read_chosen


def export(config: Config, artifacts: Artifacts) -> None:
    """Write the bundle: of the fine-tuned seeds, the one that did best on the validation pictures (the test
    split decides nothing). It is complete, and plain where what was added to the network can be merged into
    its weights. Its temperature, and from when on a picture is unknown, come from pictures held out of its
    training. Then write the other formats that `export.formats` asks for.

    Raises `UserError` where `evaluate.costs` is no table of these classes.
    """
    name = Contender.finetuned.name
    folder = artifacts.stage("finetune", name)
    seed, accuracy = best_seed(folder / HISTORY, folder / COSTS)
    base = artifacts.stage("replace_head") / MODEL
    network, card = load_model(folder / "weights" / seed_weights(seed), folder / CARD, base)
    notes = {**card.notes, "seed": seed, "validation_accuracy": accuracy}
    searched = artifacts.stage("search", name)
    network, recipe = merge(network), read_chosen(searched / RECIPE).recipe
    store = open_training(artifacts)
    ask, device = None, prepare_device(config.trainer)
    if solved_alone(network, recipe) and not in_half_precision(config.trainer):
        # what the head was solved on is stored
        cache = PrefixCache(artifacts.prefix, config.trainer)
        ask = by_stored_features(network, config.trainer, cache, min(FILL_BATCH, recipe.batch_size))
    answering, features = answering_of(
        network,
        recipe,
        store,
        config.export.unknown_share,
        device,
        configured_costs(config.evaluate.costs, card.classes),
        recipe.batch_size,
        searched / LEFT_OUT,
        ask,
    )
    bundle = artifacts.stage_output("export")
    written = save_model(bundle / MODEL, bundle / CARD, network, replace(card, notes=notes, weights={}))
    written = save_answering(bundle, written, answering, features)
    formats = set(config.export.formats) - {ExportFormat.bundle}
    if formats:
        # what they need takes seconds to load
        from thawline.serving.formats import registered, write

        write.write_formats(config.export.formats, bundle, store)
        if ExportFormat.mlflow in formats:
            registered.register(config, bundle, written, store, artifacts.root)


def best_seed(history: Path, costs: Path) -> tuple[int, float | None]:
    """Choose the seed whose kept weights have the best validation accuracy (ties: the lower loss, then the
    lower seed), and return it with that accuracy, None where no pictures were left to validate on.

    history: all epochs of all seeds. costs: costs.json of the fine-tunings, which says of each seed which
    epoch it kept, or that it kept the average that follows the last one.
    """
    rows = pd.read_csv(history)
    kept = {int(seed): cost["epoch"] for seed, cost in read_json(costs)["seeds"].items()}
    rows = rows[rows["epoch"] == rows["seed"].map(kept)]
    best = rows.sort_values(["val_accuracy", "val_loss", "seed"], ascending=[False, True, True]).iloc[0]
    accuracy = float(best["val_accuracy"])
    return int(best["seed"]), None if math.isnan(accuracy) else accuracy
