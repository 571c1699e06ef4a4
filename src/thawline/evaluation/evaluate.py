"""The stage that opens the test split: every contender's models are asked, once, at the end."""

import re
from pathlib import Path
from typing import Any

import torch

from thawline.artifacts import (
    CARD,
    METRICS,
    MODEL,
    RECIPE,
    Artifacts,
    read_json,
    seed_weights,
    write_json,
)
from thawline.config.errors import UserError
from thawline.config.recipe.contenders import require_finetuned
from thawline.config.sections import Config, Contender
from thawline.data.store import Store, groups_of, open_store
from thawline.evaluation.answers import answers_on_test
from thawline.evaluation.asking import Asking, class_order
from thawline.evaluation.depth_curve import write_depth_curve
from thawline.evaluation.mistakes import write_mistakes
from thawline.evaluation.rewards import rewards_on_test
from thawline.evaluation.summary import describe, measured
from thawline.evaluation.tables import Predicted, Truth, write_tables
from thawline.models.checkpoint import load_model
from thawline.models.device import prepare_device


def evaluate(config: Config, artifacts: Artifacts) -> dict[str, Any]:
    """Measure every contender on the test split; write the tables and pictures of artifacts/evaluate,
    reports/metrics.json, reports/depth_curve.csv and reports/recommendation.json.

    Returns:
        What metrics.json holds. Nothing in it varies between two runs with equal inputs.

    Raises `UserError` where the fine-tuned contender is not among them.
    """
    require_finetuned(config.contenders)
    test = open_store(artifacts.data("test"))
    recipe = read_json(artifacts.stage("search", Contender.finetuned.name) / RECIPE)
    device = prepare_device(config.trainer)
    base = artifacts.stage("replace_head") / MODEL
    asking = Asking(test, base, config.evaluate.batch_size, device)
    answers = answers_on_test(config, artifacts, asking)
    models = [
        model
        for contender in config.contenders
        for model in predictions(
            contender.name,
            artifacts.stage("finetune", contender.name),
            asking,
            # one number for all: contenders differ in depth, start and rates only
            seeds=recipe["recipe"]["seeds"],
        )
    ]
    truth = Truth(list(test.manifest["path"]), list(test.manifest["group"]), test.labels, test.classes)
    write_tables(artifacts.stage_output("evaluate"), truth, models, config.evaluate.calibration_bins)
    rewards = rewards_on_test(config, artifacts, asking, models)
    metrics = {
        **measured(config, truth.labels, models, groups_of(test.manifest)),
        "answers": answers,
        **({"reward": rewards} if rewards else {}),
        "recipe": recipe,
        "data": describe(open_store(artifacts.data("target")), test),
    }
    _show_mistakes(artifacts, test, models, device)
    write_depth_curve(config, artifacts, asking)
    write_json(artifacts.reports / METRICS, metrics)
    return metrics


def _show_mistakes(artifacts: Artifacts, test: Store, models: list[Predicted], device: torch.device) -> None:
    """Write the pictures that the fine-tuned contender takes for something else, with the maps of its first
    seed."""
    name = Contender.finetuned.name
    mine = [model for model in models if model.contender == name]
    folder = artifacts.stage("finetune", name)
    weights = folder / "weights" / seed_weights(mine[0].seed)
    network, card = load_model(weights, folder / CARD, artifacts.stage("replace_head") / MODEL)
    outputs = class_order(card, test, weights)
    write_mistakes(artifacts.stage_output("evaluate", "pictures"), test, mine, network, outputs, device)


def predictions(contender: str, folder: Path, asking: Asking, seeds: int) -> list[Predicted]:
    """Return what the model of every seed in `folder` says of the test pictures, classes in the store's
    order.

    Raises `UserError` when there are not `seeds` models, or when one was trained for other classes or
    other input.
    """
    return [
        Predicted(contender, seed, asking.probabilities(weights, folder / CARD))
        for seed, weights in seed_files(folder / "weights", seeds).items()
    ]


def seed_files(folder: Path, seeds: int) -> dict[int, Path]:
    """Return the weights in `folder` by seed, in ascending order; `UserError` unless there are `seeds`."""
    found = {}
    for path in folder.glob("seed_*.safetensors"):
        if match := re.fullmatch(r"seed_(\d+)\.safetensors", path.name):
            found[int(match[1])] = path
    if len(found) != seeds:
        raise UserError(
            f"the recipe asks for {seeds} seeds, {folder} holds the weights of {len(found)}.\n"
            "  They are made by stage finetune; run: dvc repro"
        )
    return dict(sorted(found.items()))
