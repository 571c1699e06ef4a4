"""The stage: a recipe file that finetune obeys, and a run in MLflow for every trial."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from thawline.artifacts import CARD, LEFT_OUT, MODEL, RECIPE, TRIALS, Artifacts, read_json
from thawline.config.choices import HeadVariant
from thawline.config.errors import UserError
from thawline.config.recipe.contenders import contender_of
from thawline.config.sections import (
    BatchNorm,
    Config,
    Contender,
    DataSetName,
    Finetune,
    Method,
    Phases,
    PrunerName,
    Range,
    Search,
    Space,
    Start,
    Target,
    Trainer,
)
from thawline.models.checkpoint import build_random, read_card, save_model
from thawline.search.search import search
from thawline.search.trial.trials import Trials
from thawline.training.finetune import initial_network
from thawline.training.recipe import read_chosen


@pytest.fixture(autouse=True)
def plotted(runs: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:  # noqa: ARG001
    """The studies whose plots were asked for; they are drawn in tests of their own."""
    names: list[str] = []
    monkeypatch.setattr("thawline.search.search.log_plots", lambda study, *_: names.append(study.study_name))
    return names


def config_of(tmp_path: Path, contender: Contender = Contender.finetuned, **changes: object) -> Config:
    space = {name: changes.pop(name) for name in ("depths", "head_lr", "body_lr") if name in changes}
    changes = {"trials": 4, "startup_trials": 2, "pruner": PrunerName.none, **changes}
    config = Config(
        contenders=[contender],
        target=Target(dataset=DataSetName.digits),
        trainer=Trainer(accelerator="cpu", threads=1),
        finetune=Finetune(epochs=2, batch_size=8, body_lr=1e-2, depth=1),
        search=Search(**changes, space=Space(**space)),  # type: ignore[arg-type]
    )
    config.tracking.uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    return config


def run(config: Config, artifacts: Artifacts) -> tuple[dict, pd.DataFrame]:
    search(config, artifacts)
    folder = artifacts.stage("search", contender_of(config).name)
    return read_json(folder / RECIPE), pd.read_csv(folder / TRIALS)


def test_the_recipe_is_the_best_trials(toy_artifacts: Artifacts, tmp_path: Path) -> None:
    recipe, trials = run(config_of(tmp_path, depths=[0, 1]), toy_artifacts)
    best = trials.sort_values(["value", "val_loss"], ascending=[False, True]).iloc[0]
    assert recipe["selected"]["trial"] == best["number"]
    # LP-FT, a known recipe, has no rate for its head
    assert recipe["recipe"]["body_lr"] == pytest.approx(best["body_lr"])
    assert recipe["depth"] == best["depth"]
    assert list(trials["state"]) == ["complete"] * 4
    with np.load(toy_artifacts.stage("search", "finetuned") / LEFT_OUT) as table:
        right = (table["logits"].argmax(1) == table["labels"]).mean()
    assert recipe["selected"]["val_accuracy"] == pytest.approx(right)


def test_search_off_passes_the_configured_recipe_through(toy_artifacts: Artifacts, tmp_path: Path) -> None:
    config = config_of(tmp_path, enabled=False)
    recipe, trials = run(config, toy_artifacts)
    assert recipe["selected"] is None
    assert recipe["depth"] == 1
    assert recipe["recipe"]["body_lr"] == 1e-2
    assert recipe["recipe"]["head_lr"] == pytest.approx(1e-1)
    assert trials.empty
    assert not (toy_artifacts.stage("search", "finetuned") / LEFT_OUT).exists()


def test_every_contender_that_trains_gets_as_many_trials(toy_artifacts: Artifacts, tmp_path: Path) -> None:
    for contender in Contender:
        _, trials = run(config_of(tmp_path, contender, trials=2), toy_artifacts)
        # a solved head varies nothing
        assert len(trials) == (1 if contender is Contender.linear_probe else 2)


def test_from_scratch_searches_its_own_rate(toy_artifacts: Artifacts, tmp_path: Path) -> None:
    run(config_of(tmp_path, Contender.from_scratch), toy_artifacts)
    chosen = read_chosen(toy_artifacts.stage("search", "from_scratch") / RECIPE)
    assert chosen.recipe.start is Start.random
    assert chosen.recipe.body_lr is None
    assert chosen.depth == 0


def test_the_same_search_gives_the_same_recipe(
    toy_artifacts: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, trials = run(config_of(tmp_path, trials=3), toy_artifacts)
    monkeypatch.setattr(Artifacts, "studies", property(lambda self: self.root / "other.db"))
    second, again = run(config_of(tmp_path, trials=3), toy_artifacts)
    assert first == second
    varying = ["seconds", "started", "finished", "worker"]
    pd.testing.assert_frame_equal(trials.drop(columns=varying), again.drop(columns=varying))


def test_a_search_in_which_everything_diverges_says_what_to_do(
    toy_artifacts: Artifacts, tmp_path: Path
) -> None:
    wild = Range(1e35, 1e36)
    with pytest.raises(
        UserError, match=r"all 4 trials of finetuned failed.*(?s:.*)lower the ends of search\.space: head_lr"
    ):
        run(config_of(tmp_path, depths=[0, 1], head_lr=wild, body_lr=wild), toy_artifacts)


def test_from_scratch_can_be_what_is_fine_tuned(toy_artifacts: Artifacts, tmp_path: Path) -> None:
    config = config_of(tmp_path)
    config.finetune = Finetune(epochs=1, batch_size=8, start=Start.random, body_lr=None, head_lr=1e-2)
    recipe, trials = run(config, toy_artifacts)
    assert recipe["depth"] == 0
    assert set(trials["state"]) == {"complete"}


def test_a_trial_is_one_training_over_all_phases(toy_artifacts: Artifacts, tmp_path: Path) -> None:
    config = config_of(tmp_path, depths=[0, 1], trials=2, pruner=PrunerName.median)
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


def test_a_study_interrupted_after_its_last_trial_is_concluded_by_the_next_call_and_only_by_that(
    toy_artifacts: Artifacts, tmp_path: Path, plotted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    config = config_of(tmp_path, trials=1)
    with monkeypatch.context() as patch:
        patch.setattr("thawline.search.search.log_plots", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(config, toy_artifacts)
    for _ in range(2):
        run(config, toy_artifacts)
        assert len(plotted) == 1
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("thawline")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert [each.data.tags["state"] for each in runs] == ["complete"] * 2


def test_depths_that_the_network_does_not_have_are_refused(toy_artifacts: Artifacts, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"(?s)search\.space\.depths = \[7\].*from 0 to 3"):
        run(config_of(tmp_path, depths=[7]), toy_artifacts)


@pytest.fixture
def transformer(toy_artifacts: Artifacts) -> Artifacts:
    """Artifacts with a transformer of four units: attention is in the second and the third."""
    folder = toy_artifacts.stage_output("replace_head")
    card = replace(read_card(folder / CARD), architecture="tests_networks.ReZero")
    save_model(folder / MODEL, folder / CARD, build_random(card), card)
    return toy_artifacts


def prompts(tmp_path: Path, **changes: object) -> Config:
    config = config_of(tmp_path, **changes)
    config.finetune = replace(config.finetune, method=Method.prompt, prompt_tokens=2, epochs=1)
    return config


def test_a_depth_at_which_the_method_does_nothing_is_not_searched(
    transformer: Artifacts, tmp_path: Path
) -> None:
    assert Trials(prompts(tmp_path), transformer).depths == [0, 1, 2, 4]
    assert Trials(prompts(tmp_path, depths=[3, 2]), transformer).depths == [2]


@pytest.mark.parametrize("method", Method)
def test_with_every_unit_frozen_any_method_is_a_linear_probe(
    method: Method, transformer: Artifacts, tmp_path: Path
) -> None:
    config = prompts(tmp_path, depths=[4])
    config.finetune = replace(config.finetune, method=method, depth="all")
    trials = Trials(config, transformer)
    assert trials.depths == [4]
    network, _ = initial_network(config.finetune, trials.initial, 0)
    assert network.state_dict().keys() == build_random(trials.card).state_dict().keys()


def test_a_linear_probe_is_a_trial_like_any_other(transformer: Artifacts, tmp_path: Path) -> None:
    config = prompts(tmp_path, trials=1)
    config.finetune = replace(config.finetune, depth="all")
    recipe, trials = run(config, transformer)
    assert (recipe["depth"], recipe["recipe"]["method"]) == (4, "prompt")
    assert list(trials["state"]) == ["complete"]


@pytest.mark.parametrize("depths", [None, [0, 2], [1, 3]])
def test_a_method_that_does_nothing_at_any_depth_is_refused(
    depths: list[int] | None, toy_artifacts: Artifacts, tmp_path: Path
) -> None:
    message = r"(?s)finetune\.method = prompt does nothing for tests_networks\.Small at any depth searched "
    with pytest.raises(UserError, match=message + r"\([01].*at depth [01]: .*no place for prompts.*Choose"):
        run(prompts(tmp_path, depths=depths), toy_artifacts)
    assert not toy_artifacts.studies.exists()


@pytest.mark.parametrize("changes", [{"enabled": False}, {"depths": [3]}])
def test_a_method_that_does_nothing_at_the_only_depth_says_why(
    changes: dict[str, object], transformer: Artifacts, tmp_path: Path
) -> None:
    config = prompts(tmp_path, **changes)
    config.finetune.depth = 3
    with pytest.raises(UserError, match=r"(?s)^ReZero has no unfrozen unit in which tokens .*smaller depth"):
        run(config, transformer)


def test_a_method_that_trains_only_the_head_is_refused_before_any_trial(
    toy_artifacts: Artifacts, tmp_path: Path
) -> None:
    for enabled in (True, False):
        config = config_of(tmp_path, enabled=enabled)
        config.finetune = replace(config.finetune, method=Method.norm, batch_norm=BatchNorm.frozen)
        with pytest.raises(UserError, match=r"(?s)method = norm with batch_norm = frozen .*linear_probe"):
            run(config, toy_artifacts)
    assert not toy_artifacts.studies.exists()


@pytest.mark.parametrize("enabled", [True, False])
def test_a_misspelt_unit_is_refused_at_once(enabled: bool, toy_artifacts: Artifacts, tmp_path: Path) -> None:
    config = config_of(tmp_path, enabled=enabled)
    config.finetune = replace(config.finetune, depth=0, units=["block.1"])
    with pytest.raises(UserError, match=r"(?s)no such units or modules.*nearest to 'block\.1': blocks\.1"):
        run(config, toy_artifacts)
    assert not toy_artifacts.studies.exists()
    assert not (toy_artifacts.stage_output("search", "finetuned") / RECIPE).exists()


def test_depths_are_not_searched_where_units_say_what_learns(
    toy_artifacts: Artifacts, tmp_path: Path
) -> None:
    config = config_of(tmp_path, depths=[0, 1])
    config.finetune = replace(config.finetune, depth=0, units=["blocks.1"])
    with pytest.raises(
        UserError, match=r"(?s)search\.space\.depths = \[0, 1\], but finetune\.units = \['blocks\.1'\].*set "
    ):
        run(config, toy_artifacts)
    config.search.space.depths = None
    assert Trials(config, toy_artifacts).depths == [0]


def test_a_study_of_another_head_is_another_study(toy_artifacts: Artifacts, tmp_path: Path) -> None:
    trials = Trials(config_of(tmp_path), toy_artifacts)
    other = Trials(config_of(tmp_path), toy_artifacts)
    other.card = replace(other.card, head=HeadVariant.mlp)
    assert Trials(config_of(tmp_path), toy_artifacts).name == trials.name
    assert other.name != trials.name


def test_trials_are_children_of_their_study_and_none_is_left_running(
    toy_artifacts: Artifacts, tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    run(config_of(tmp_path, depths=[0, 1]), toy_artifacts)
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
    assert all({"depth", "body_lr", "epochs"} <= each.data.params.keys() for each in children)
    assert all({"train_loss", "val_accuracy"} <= each.data.metrics.keys() for each in children)
