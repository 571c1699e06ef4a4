"""The stage that makes the bundle `thawline predict` uses: weights, labels and transform in a folder."""

from dataclasses import replace
from pathlib import Path

import pandas as pd

from thawline.artifacts import CARD, HISTORY, MODEL, RECIPE, Artifacts, read_json, seed_weights
from thawline.config.sections import Config, Contender
from thawline.models.adapters import merge
from thawline.models.checkpoint import load_model, save_model


def export(config: Config, artifacts: Artifacts) -> None:  # noqa: ARG001
    """Write the bundle: of the fine-tuned seeds, the one that did best on the validation pictures
    (the test split decides nothing). It is complete, and plain where what was added to the network can be
    merged into its weights."""
    name = Contender.finetuned.name
    folder = artifacts.stage("finetune", name)
    keep_best = read_json(artifacts.stage("search", name) / RECIPE)["recipe"]["keep"] == "best"
    seed, accuracy = best_seed(folder / HISTORY, keep_best)
    base = artifacts.stage("replace_head") / MODEL
    network, card = load_model(folder / "weights" / seed_weights(seed), folder / CARD, base)
    notes = {**card.notes, "seed": seed, "validation_accuracy": accuracy}
    bundle = artifacts.stage_output("export")
    save_model(bundle / MODEL, bundle / CARD, merge(network), replace(card, notes=notes, weights={}))


def best_seed(history: Path, keep_best: bool) -> tuple[int, float]:
    """The seed whose kept epoch has the best validation accuracy (ties: the lower loss, then the
    lower seed), and that accuracy."""
    rows = pd.read_csv(history).sort_values(
        ["val_accuracy", "val_loss", "epoch", "seed"], ascending=[False, True, True, True], kind="stable"
    )
    if not keep_best:
        rows = rows[rows["epoch"] == rows.groupby("seed")["epoch"].transform("max")]
    best = rows.iloc[0]
    return int(best["seed"]), float(best["val_accuracy"])
