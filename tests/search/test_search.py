"""The stage: a recipe file that finetune obeys, and a run in MLflow for every trial."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tests_trials
from conftest import write_toy_artifacts

from thawline import tracking
from thawline.artifacts import CARD, LEFT_OUT, MODEL, PLAN, RECIPE, TRIALS, Artifacts, read_json
from thawline.config.choices import HeadVariant
from thawline.config.errors import UserError
from thawline.config.sections import (
    BatchNorm,
    Config,
    Contender,
    Method,
    Phases,
    Plan,
    PrunerName,
    SamplerName,
    Start,
)
from thawline.depth_curve import read_curve
from thawline.models.card import read_card
from thawline.models.checkpoint import build_random, save_model
from thawline.plan.decisions import Decisions, write_decisions
from thawline.search.search import search
from thawline.search.trial.trials import Trials
from thawline.tracking.connection import connected
from thawline.training.finetune import initial_network
from thawline.training.recipe import read_chosen


@pytest.fixture(autouse=True, scope="module")
def plotted() -> Iterator[list[str]]:
    """The studies whose plots were asked for; they are drawn in tests of their own."""
    names: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("thawline.search.search.log_plots", lambda study, *_: names.append(study.study_name))
        yield names


def config_of(artifacts: Artifacts, **changes: Any) -> Config:
    return tests_trials.config_of(f"sqlite:///{artifacts.root / 'mlflow.db'}", **changes)


def run(config: Config, artifacts: Artifacts) -> tuple[dict, pd.DataFrame]:
    search(config, artifacts)
    return found_in(artifacts, config.contenders[0])


def found_in(artifacts: Artifacts, contender: Contender = Contender.finetuned) -> tuple[dict, pd.DataFrame]:
    """recipe.json and the table of trials."""
    folder = artifacts.stage("search", contender.name)
    return read_json(folder / RECIPE), pd.read_csv(folder / TRIALS)


def runs_of(artifacts: Artifacts) -> list[Any]:
    tracking.connect(config_of(artifacts).tracking.uri, "thawline", artifacts.root)
    return connected().client.search_runs([connected().experiment_id])


def usual(artifacts: Artifacts) -> Config:
    settings = {"sampler": SamplerName.tpe, "startup_trials": 2, "known": ["lp_ft"]}
    return config_of(artifacts, trials=3, depths=[0, 1], recipe={"epochs": 2}, **settings)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    """After a search whose last trial is proposed by what the first ones came to."""
    artifacts = write_toy_artifacts(tmp_path_factory.mktemp("searched"))
    search(usual(artifacts), artifacts)
    return artifacts


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    """After a search for each contender."""
    artifacts = write_toy_artifacts(tmp_path_factory.mktemp("compared"))
    search(replace(config_of(artifacts, trials=2), contenders=list(Contender)), artifacts)
    return artifacts


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    """As after replace_head: in it only refusals are tried, and nothing is trained."""
    return write_toy_artifacts(tmp_path_factory.mktemp("project"))


def test_the_recipe_is_the_best_trials(searched: Artifacts) -> None:
    recipe, trials = found_in(searched)
    best = trials.sort_values(["value", "val_loss"], ascending=[False, True]).iloc[0]
    assert recipe["selected"]["trial"] == best["number"]
    # LP-FT, a known recipe, has no rate for its head
    assert recipe["recipe"]["body_lr"] == pytest.approx(best["body_lr"])
    assert recipe["depth"] == best["depth"]
    assert list(trials["state"]) == ["complete"] * 3
    with np.load(searched.stage("search", "finetuned") / LEFT_OUT) as table:
        right = (table["logits"].argmax(1) == table["labels"]).mean()
    assert recipe["selected"]["val_accuracy"] == pytest.approx(right)


def test_a_search_for_a_recipe_leaves_evidence_without_a_curve(searched: Artifacts) -> None:
    evidence = searched.stage("search", "finetuned") / "evidence"
    assert read_curve(evidence / "depth_curve.csv").empty
    recommendation = read_json(evidence / "recommendation.json")
    assert "the best of 3 trials on 16 validation pictures" in recommendation["reason"]
    assert "search=depth_curve would tell" in recommendation["reason"]


def test_trials_are_children_of_their_study_and_none_is_left_running(searched: Artifacts) -> None:
    runs = runs_of(searched)
    parents = [each for each in runs if "mlflow.parentRunId" not in each.data.tags]
    assert len(parents) == 1
    assert len(runs) == 4
    assert {each.info.status for each in runs} == {"FINISHED"}
    children = [each for each in runs if each is not parents[0]]
    assert {each.data.tags["mlflow.parentRunId"] for each in children} == {parents[0].info.run_id}
    assert all({"depth", "body_lr", "epochs"} <= each.data.params.keys() for each in children)
    assert all({"train_loss", "val_accuracy"} <= each.data.metrics.keys() for each in children)


@pytest.mark.slow
def test_the_same_search_gives_the_same_recipe(searched: Artifacts, toy_artifacts: Artifacts) -> None:
    recipe, trials = run(usual(toy_artifacts), toy_artifacts)
    first, before = found_in(searched)
    assert recipe == first
    varying = ["seconds", "started", "finished", "worker"]
    pd.testing.assert_frame_equal(trials.drop(columns=varying), before.drop(columns=varying))


def test_search_off_passes_the_configured_recipe_through(toy_artifacts: Artifacts) -> None:
    recipe, trials = run(config_of(toy_artifacts, enabled=False), toy_artifacts)
    assert recipe["selected"] is None
    assert recipe["depth"] == 1
    assert recipe["recipe"]["body_lr"] == 1e-2
    assert recipe["recipe"]["head_lr"] == pytest.approx(1e-1)
    assert trials.empty
    assert not (toy_artifacts.stage("search", "finetuned") / LEFT_OUT).exists()


def test_every_contender_that_trains_gets_as_many_trials(compared: Artifacts) -> None:
    for contender in Contender:
        # a solved head varies nothing
        expected = 1 if contender is Contender.linear_probe else 2
        assert len(found_in(compared, contender)[1]) == expected


def test_from_scratch_searches_its_own_rate(compared: Artifacts) -> None:
    chosen = read_chosen(compared.stage("search", "from_scratch") / RECIPE)
    assert chosen.recipe.start is Start.random
    assert chosen.recipe.body_lr is None
    assert chosen.depth == 0


def test_a_finished_study_is_not_recorded_again(compared: Artifacts) -> None:
    for _ in range(2):
        assert len(runs_of(compared)) == len(Contender) + 2 + 1 + 2
        search(config_of(compared, trials=2), compared)


def test_a_trial_is_one_training_over_all_phases(toy_artifacts: Artifacts) -> None:
    phased = {"phases": Phases.probe_first, "epochs": 3, "soup": 4}
    config = config_of(toy_artifacts, trials=1, pruner=PrunerName.median, recipe=phased)
    _, trials = run(config, toy_artifacts)
    assert list(trials["epochs"]) == [3]


@pytest.mark.slow
def test_a_study_interrupted_after_its_last_trial_is_concluded_by_the_next_call_and_only_by_that(
    toy_artifacts: Artifacts, plotted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    config = config_of(toy_artifacts, trials=1)
    with monkeypatch.context() as patch:
        patch.setattr("thawline.search.search.log_plots", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(config, toy_artifacts)
    plotted.clear()
    for _ in range(2):
        run(config, toy_artifacts)
        assert len(plotted) == 1
    assert [each.data.tags["state"] for each in runs_of(toy_artifacts)] == ["complete"] * 2


@pytest.mark.slow
def test_a_reproduction_runs_as_many_whole_trials_of_each_contender_as_the_clock_left(
    toy_artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_decisions(toy_artifacts.stage_output("plan") / PLAN, Decisions("leaves"))
    recipe = {"epochs": 2, "body_lr": 1e-2}
    config = replace(config_of(toy_artifacts, trials=3, depths=[0, 1], recipe=recipe), plan=Plan(5))
    config = replace(config, contenders=[Contender.finetuned, Contender.from_scratch])
    with monkeypatch.context() as patch:
        # the second trial of the one is cut off, and none of the other is begun after the first
        patch.setattr("thawline.search.trial.trials.time_is_up", lambda study: len(study.trials) > 1)
        patch.setattr(
            "thawline.search.search.seconds_for_search",
            lambda one, _: 0.0 if one.contenders == [Contender.from_scratch] else None,
        )
        search(replace(config, search=replace(config.search, trials=2)), toy_artifacts)
    chosen = [found_in(toy_artifacts, each)[0]["recipe"] for each in config.contenders]
    assert list(found_in(toy_artifacts)[1]["state"]) == ["complete", "pruned"]
    toy_artifacts.studies.unlink()
    search(config, toy_artifacts)
    for contender, recipe in zip(config.contenders, chosen, strict=True):
        again, trials = found_in(toy_artifacts, contender)
        assert list(trials["state"]) == ["complete"]
        assert again["recipe"] == recipe


def test_depths_that_the_network_does_not_have_are_refused(project: Artifacts) -> None:
    with pytest.raises(UserError, match=r"(?s)search\.space\.depths = \[7\].*from 0 to 3"):
        run(config_of(project, depths=[7]), project)


@pytest.fixture(scope="module")
def transformer(tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    """Artifacts with a transformer of four units: attention is in the second and the third."""
    artifacts = write_toy_artifacts(tmp_path_factory.mktemp("transformer"))
    folder = artifacts.stage_output("replace_head")
    card = replace(read_card(folder / CARD), architecture="tests_networks.ReZero")
    save_model(folder / MODEL, folder / CARD, build_random(card), card)
    return artifacts


def prompts(artifacts: Artifacts, **changes: Any) -> Config:
    return config_of(artifacts, recipe={"method": Method.prompt, "prompt_tokens": 2}, **changes)


def test_a_depth_at_which_the_method_does_nothing_is_not_searched(transformer: Artifacts) -> None:
    assert Trials(prompts(transformer), transformer).depths == [0, 1, 2, 4]
    assert Trials(prompts(transformer, depths=[3, 2]), transformer).depths == [2]


@pytest.mark.parametrize("method", [Method.full, Method.norm, Method.prompt])
def test_with_every_unit_frozen_any_method_is_a_linear_probe(method: Method, transformer: Artifacts) -> None:
    config = prompts(transformer, depths=[4])
    config.finetune = replace(config.finetune, method=method, depth="all")
    trials = Trials(config, transformer)
    assert trials.depths == [4]
    network, _ = initial_network(config.finetune, trials.initial, 0)
    assert network.state_dict().keys() == build_random(trials.card).state_dict().keys()


@pytest.mark.parametrize("depths", [None, [1, 3]])
def test_a_method_that_does_nothing_at_any_depth_is_refused(
    depths: list[int] | None, project: Artifacts
) -> None:
    message = r"(?s)finetune\.method = prompt does nothing for tests_networks\.Small at any depth searched "
    with pytest.raises(UserError, match=message + r"\([01].*at depth [01]: .*no place for prompts.*Choose"):
        run(prompts(project, depths=depths), project)
    assert not project.studies.exists()


@pytest.mark.parametrize("changes", [{"enabled": False}, {"depths": [3]}])
def test_a_method_that_does_nothing_at_the_only_depth_says_why(
    changes: dict[str, object], transformer: Artifacts
) -> None:
    config = prompts(transformer, **changes)
    config.finetune.depth = 3
    with pytest.raises(UserError, match=r"(?s)^ReZero has no unfrozen unit in which tokens .*smaller depth"):
        run(config, transformer)


def test_a_method_that_trains_only_the_head_is_refused_before_any_trial(project: Artifacts) -> None:
    for enabled in (True, False):
        config = config_of(project, enabled=enabled)
        config.finetune = replace(config.finetune, method=Method.norm, batch_norm=BatchNorm.frozen)
        with pytest.raises(UserError, match=r"(?s)method = norm with batch_norm = frozen .*linear_probe"):
            run(config, project)
    assert not project.studies.exists()


@pytest.mark.parametrize("enabled", [True, False])
def test_a_misspelt_unit_is_refused_at_once(enabled: bool, project: Artifacts) -> None:
    config = config_of(project, enabled=enabled)
    config.finetune = replace(config.finetune, depth=0, units=["block.1"])
    with pytest.raises(UserError, match=r"(?s)no such units or modules.*nearest to 'block\.1': blocks\.1"):
        run(config, project)
    assert not project.studies.exists()
    assert not (project.stage_output("search", "finetuned") / RECIPE).exists()


def test_depths_are_not_searched_where_units_say_what_learns(project: Artifacts) -> None:
    config = config_of(project, depths=[0, 1])
    config.finetune = replace(config.finetune, depth=0, units=["blocks.1"])
    with pytest.raises(
        UserError, match=r"(?s)search\.space\.depths = \[0, 1\], but finetune\.units = \['blocks\.1'\].*set "
    ):
        run(config, project)
    config.search.space.depths = None
    assert Trials(config, project).depths == [0]


def test_a_study_of_another_head_is_another_study(project: Artifacts) -> None:
    trials = Trials(config_of(project), project)
    other = Trials(config_of(project), project)
    other.card = replace(other.card, head=HeadVariant.mlp)
    assert Trials(config_of(project), project).name == trials.name
    assert other.name != trials.name
