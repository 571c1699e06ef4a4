"""The stage: a recipe file that finetune obeys, and a run in MLflow for every trial."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from thawline.artifacts import RECIPE, TRIALS, Artifacts, read_json
from thawline.config.errors import UserError
from thawline.config.sections import (
    Config,
    Contender,
    DataSetName,
    Finetune,
    Phases,
    PrunerName,
    Range,
    Search,
    Start,
    Target,
    Trainer,
)
from thawline.search.search import search
from thawline.training.recipe import read_chosen


def config_of(tmp_path: Path, contender: Contender = Contender.finetuned, **changes: object) -> Config:
    config = Config(
        contender=contender,
        target=Target(dataset=DataSetName.digits),
        trainer=Trainer(accelerator="cpu", threads=1),
        finetune=Finetune(epochs=2, batch_size=8, body_lr=1e-2, depth=1),
        search=Search(**{"trials": 4, "startup_trials": 2, "pruner": PrunerName.none, **changes}),  # type: ignore[arg-type]
    )
    config.tracking.uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    return config


def run(config: Config, artifacts: Artifacts) -> tuple[dict, pd.DataFrame]:
    search(config, artifacts)
    folder = artifacts.stage("search", config.contender.name)
    return read_json(folder / RECIPE), pd.read_csv(folder / TRIALS)


def test_the_recipe_is_the_best_trials(toy_artifacts: Artifacts, tmp_path: Path) -> None:
    recipe, trials = run(config_of(tmp_path), toy_artifacts)
    best = trials.sort_values(["value", "val_loss"], ascending=[False, True]).iloc[0]
    assert recipe["selected"]["trial"] == best["number"]
    assert recipe["recipe"]["head_lr"] == pytest.approx(best["head_lr"])
    assert recipe["depth"] == best["depth"]
    assert list(trials["state"]) == ["complete"] * 4


def test_search_off_passes_the_configured_recipe_through(toy_artifacts: Artifacts, tmp_path: Path) -> None:
    config = config_of(tmp_path, enabled=False)
    recipe, trials = run(config, toy_artifacts)
    assert recipe["selected"] is None
    assert recipe["depth"] == 1
    assert recipe["recipe"]["body_lr"] == 1e-2
    assert recipe["recipe"]["head_lr"] == pytest.approx(1e-1)
    assert trials.empty


def test_every_contender_gets_as_many_trials(toy_artifacts: Artifacts, tmp_path: Path) -> None:
    for contender in Contender:
        _, trials = run(config_of(tmp_path, contender), toy_artifacts)
        assert len(trials) == 4


def test_from_scratch_searches_its_own_rate(toy_artifacts: Artifacts, tmp_path: Path) -> None:
    run(config_of(tmp_path, Contender.from_scratch), toy_artifacts)
    chosen = read_chosen(toy_artifacts.stage("search", "from_scratch") / RECIPE)
    assert chosen.recipe.start is Start.random
    assert chosen.recipe.body_lr is None
    assert chosen.depth == 0


def test_the_same_search_gives_the_same_recipe(
    toy_artifacts: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, trials = run(config_of(tmp_path), toy_artifacts)
    monkeypatch.setattr(Artifacts, "studies", property(lambda self: self.root / "other.db"))
    second, again = run(config_of(tmp_path), toy_artifacts)
    assert first == second
    pd.testing.assert_frame_equal(trials.drop(columns="seconds"), again.drop(columns="seconds"))


def test_a_search_in_which_everything_diverges_says_what_to_do(
    toy_artifacts: Artifacts, tmp_path: Path
) -> None:
    wild = Range(1e35, 1e36)
    with pytest.raises(
        UserError, match=r"all 4 trials of finetuned failed.*(?s:.*)lower search\.head_lr\.high"
    ):
        run(config_of(tmp_path, head_lr=wild, body_lr=wild), toy_artifacts)


def test_from_scratch_can_be_what_is_fine_tuned(toy_artifacts: Artifacts, tmp_path: Path) -> None:
    config = config_of(tmp_path)
    config.finetune = Finetune(epochs=1, batch_size=8, start=Start.random, body_lr=None, head_lr=1e-2)
    recipe, trials = run(config, toy_artifacts)
    assert recipe["depth"] == 0
    assert set(trials["state"]) == {"complete"}


def test_a_trial_is_one_training_over_all_phases(toy_artifacts: Artifacts, tmp_path: Path) -> None:
    config = config_of(tmp_path, trials=2, pruner=PrunerName.median)
    config.finetune = replace(config.finetune, phases=Phases.probe_first, epochs=3, soup=4)
    _, trials = run(config, toy_artifacts)
    assert list(trials["epochs"]) == [3, 3]


def test_a_finished_study_is_not_recorded_again(toy_artifacts: Artifacts, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    for _ in range(2):
        run(config_of(tmp_path, trials=2), toy_artifacts)
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("thawline")
    assert experiment is not None
    assert len(client.search_runs([experiment.experiment_id])) == 1 + 2


def test_depths_that_the_network_does_not_have_are_refused(toy_artifacts: Artifacts, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"(?s)search\.depths = \[7\].*from 0 to 3"):
        run(config_of(tmp_path, depths=[7]), toy_artifacts)


def test_trials_are_children_of_their_study_and_none_is_left_running(
    toy_artifacts: Artifacts, tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    run(config_of(tmp_path), toy_artifacts)
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("thawline")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    parents = [each for each in runs if "mlflow.parentRunId" not in each.data.tags]
    assert len(parents) == 1
    assert len(runs) == 5
    assert {each.info.status for each in runs} == {"FINISHED"}
    children = [each for each in runs if each is not parents[0]]
    assert {each.data.tags["mlflow.parentRunId"] for each in children} == {parents[0].info.run_id}
    assert all({"depth", "head_lr", "epochs"} <= each.data.params.keys() for each in children)
    assert all({"train_loss", "val_accuracy"} <= each.data.metrics.keys() for each in children)
