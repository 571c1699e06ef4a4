"""The linear probe from search to fine-tuned models: one trial, three solved heads, and no Lightning."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
from tests_trials import config_of

from thawline.artifacts import COSTS, HISTORY, MODEL, RECIPE, TRIALS, Artifacts, read_json
from thawline.config.errors import UserError
from thawline.config.sections import AugmentationName, Contender, Goal
from thawline.models.checkpoint import load_model
from thawline.models.head_cuts import cuts_read
from thawline.search.search import search
from thawline.search.trial.trials import Trials
from thawline.training.finetune import finetune
from thawline.training.solve.choice import CutChoice, OutOfFold

SLOW_TO_IMPORT = (
    *("pytorch_lightning", "thawline.training.fit", "thawline.training.classifier"),
    *("timm", "torch._dynamo", "sympy", "matplotlib.pyplot"),
)
"""To import these takes longer than to solve heads."""


def test_search_and_finetune_of_the_probe_need_one_trial_and_no_lightning(
    toy_artifacts: Artifacts, runs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, int]] = []

    @contextmanager
    def progress(label: str, total: int) -> Iterator[Callable[..., None]]:
        told.append((label, total))
        yield lambda *_: None

    monkeypatch.setattr("thawline.training.finetune.progress", progress)
    config = config_of(runs, Contender.linear_probe)
    for name in SLOW_TO_IMPORT:
        monkeypatch.setitem(sys.modules, name, None)  # whoever imports it fails
    search(config, toy_artifacts)
    finetune(config, toy_artifacts)
    found, models = (toy_artifacts.stage(stage, "linear_probe") for stage in ("search", "finetune"))
    trials = pd.read_csv(found / TRIALS)
    assert list(trials["state"]) == ["complete"]
    assert read_json(found / RECIPE)["recipe"]["depth"] == "all"
    history = pd.read_csv(models / HISTORY)
    assert list(history["epoch"]) == [0, 0, 0]
    assert history["val_accuracy"].mean() == pytest.approx(trials["value"][0], abs=0.2)
    seeds = read_json(models / COSTS)["seeds"].values()
    assert [each["cost"]["step_flops"] > each["cost"]["forward_flops"] > 0 for each in seeds] == [True] * 3
    assert told == [("finetune linear_probe", 3)]


@pytest.mark.parametrize("contender", Contender)
def test_a_recipe_with_new_pictures_in_every_epoch_is_refused_before_anything_is_trained(
    contender: Contender, toy_artifacts: Artifacts
) -> None:
    config = config_of("", contender, {"augmentation": AugmentationName.standard, "depth": "all"})
    if contender is not Contender.finetuned:
        Trials(config, toy_artifacts)  # those leave augmentation or the depth out
        return
    with pytest.raises(UserError, match="finetune.views=8"):
        Trials(config, toy_artifacts)


@pytest.mark.slow
def test_a_search_over_depths_has_one_solved_trial_at_the_last(
    toy_artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch, runs: str
) -> None:
    monkeypatch.setattr("thawline.search.search.log_plots", lambda *_: None)
    settings = {"goal": Goal.depth_curve, "trials_per_depth": 2, "seeds_per_depth": 1, "depths": [1, 3]}
    search(config_of(runs, **settings), toy_artifacts)
    folder = toy_artifacts.stage("search", "finetuned")
    trials = pd.read_csv(folder / TRIALS)
    assert sorted(trials["depth"]) == [1, 1, 3]
    curve = pd.read_csv(folder / "evidence" / "depth_curve.csv")
    assert list(curve["depth"]) == [1, 3]
    assert list(curve["n_seeds"]) == [1, 1]


@pytest.mark.slow
def test_the_head_reads_cuts_that_were_chosen_out_of_fold_and_the_recipe_repeats_them(
    toy_artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch, runs: str
) -> None:
    monkeypatch.setattr("thawline.search.search.log_plots", lambda *_: None)
    everything = CutChoice((1, 2, 3), {1: OutOfFold(0.4, 1.0, 1.0)}, {}, np.arange(12))
    monkeypatch.setattr("thawline.search.trial.trials.chosen_cuts", lambda *_, **__: everything)
    config = config_of(runs, Contender.linear_probe, {"seeds": 1})
    search(config, toy_artifacts)
    folder = toy_artifacts.stage("search", "linear_probe")
    assert read_json(folder / RECIPE)["recipe"]["head_cuts"] == [1, 2, 3]
    table = pd.read_csv(folder / "evidence" / "cuts.csv")
    assert list(table["cuts"]) == [1]
    assert list(table["pictures"]) == [12]
    finetune(config, toy_artifacts)
    initial = toy_artifacts.stage("replace_head") / MODEL
    models = toy_artifacts.stage("finetune", "linear_probe")
    network, card = load_model(models / "weights" / "seed_0.safetensors", models / "card.json", initial)
    assert card.head_cuts == cuts_read(network) == (1, 2, 3)


def test_of_the_real_choice_there_is_a_curve_of_single_cuts(toy_artifacts: Artifacts) -> None:
    search(config_of("", Contender.linear_probe, enabled=False), toy_artifacts)
    folder = toy_artifacts.stage("search", "linear_probe")
    table = pd.read_csv(folder / "evidence" / "cuts.csv", dtype={"cuts": str})
    assert list(table["cuts"])[:3] == ["1", "2", "3"]
    assert table["chosen"].sum() == 1
    chosen = read_json(folder / RECIPE)["recipe"]["head_cuts"] or [3]
    assert " ".join(map(str, chosen)) == table["cuts"][table["chosen"]].item()
