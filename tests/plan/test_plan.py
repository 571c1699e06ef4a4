"""The stage: a first model, and decisions that are made once."""

import logging
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import write_toy_artifacts, write_toy_store

from thawline.artifacts import CARD, FORECAST, MODEL, PLAN, STOPPED, Artifacts, read_json, write_json
from thawline.clock import COUNTED, Clock
from thawline.config.choices import SamplerName, ValidationName
from thawline.config.errors import UserError
from thawline.config.recipe.contenders import of_each
from thawline.config.recipe.rewards import Reward
from thawline.config.sections import (
    AugmentationName,
    BatchNorm,
    Config,
    DataSetName,
    Evaluate,
    Finetune,
    Goal,
    Keep,
    Mix,
    Plan,
    Search,
    Space,
    Start,
    Target,
    Trainer,
)
from thawline.data.store import open_store, write_store
from thawline.models.checkpoint import load_model
from thawline.models.cuts import units as found_units
from thawline.models.freezing import state_hashes
from thawline.models.inference import probabilities
from thawline.plan.budget import Programme, Work
from thawline.plan.costs import Costs, StepCost, timed
from thawline.plan.decisions import (
    Decisions,
    applied,
    as_far,
    count_no_longer,
    count_time,
    decide_nothing,
    planned,
    seconds_for_search,
    stop_at,
    write_decisions,
)
from thawline.plan.plan import plan, settings
from thawline.serving.predict import bundle_in, card_of, network_of
from thawline.training.batches import batches
from thawline.training.phases import phases
from thawline.training.probe import require_stored_pictures

CPU = Trainer(accelerator="cpu", threads=1)


def config(minutes: float | None = 5.0, **recipe: object) -> Config:
    values = {"epochs": 4, "batch_size": 4, **recipe}
    return Config(
        target=Target(dataset=DataSetName.digits),
        plan=Plan(minutes),
        finetune=Finetune(**values),  # type: ignore[arg-type]
        trainer=CPU,
    )


@pytest.fixture(scope="module")
def after(tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    """What a plan of five minutes leaves."""
    artifacts = write_toy_artifacts(tmp_path_factory.mktemp("planned"))
    plan(config(), artifacts)
    return artifacts


def test_a_first_model_comes_before_everything_else(after: Artifacts) -> None:
    bundle = bundle_in(after.outputs)
    network, card = load_model(bundle / MODEL, bundle / CARD)
    store = open_store(after.data("target"))
    found = probabilities(network, batches(store, 8), "cpu")
    assert card.classes == store.classes
    assert (found.argmax(1) == store.labels).mean() > 0.8


def test_the_first_model_answers_by_what_it_says_of_pictures_left_out(after: Artifacts) -> None:
    answering = card_of(bundle_in(after.outputs)).answering
    assert answering is not None
    assert answering.basis == "Fitted on 16 validation pictures and 16 training pictures, each left out once."
    assert answering.temperature != 1
    assert answering.unknown is not None
    assert network_of(bundle_in(after.outputs)).threshold == answering.unknown.threshold


def test_the_first_model_decides_by_what_mistakes_cost_and_nothing_else_is_decided_by_it(
    tmp_path: Path, after: Artifacts
) -> None:
    table = tmp_path / "costs.csv"
    table.write_text("true class,across,down\nacross,0,0\ndown,1000000,0\n")
    artifacts = write_toy_artifacts(tmp_path)
    shutil.copytree(after.outputs / "plan", artifacts.stage_output("plan"))
    plan(replace(config(), evaluate=Evaluate(costs=str(table))), artifacts)
    (pictures, _, _), model = next(iter(batches(open_store(after.data("target")), 32))), artifacts.outputs
    answer = network_of(bundle_in(model))
    assert set(answer(pictures)[1].tolist()) == {1}
    # what was decided before is kept
    assert (model / "plan" / PLAN).read_bytes() == (after.outputs / "plan" / PLAN).read_bytes()


@pytest.mark.slow
def test_decisions_are_kept_for_as_long_as_what_they_were_made_from(toy_artifacts: Artifacts) -> None:
    path = toy_artifacts.outputs / "plan" / PLAN
    plan(config(), toy_artifacts)
    first = path.read_bytes()
    (toy_artifacts.outputs / "plan" / FORECAST).unlink()
    plan(config(), toy_artifacts)
    assert path.read_bytes() == first
    assert not (toy_artifacts.outputs / "plan" / FORECAST).exists()
    plan(config(minutes=1000), toy_artifacts)
    assert path.read_bytes() != first


@pytest.mark.slow
@pytest.mark.parametrize(
    ("train", "asked", "expected"), [(3, {}, 4), (8, {}, 5), (8, {"folds": 3}, 3), (0, {}, None)]
)
def test_a_cross_validation_is_planned_where_the_pictures_allow_it(
    toy_artifacts: Artifacts, train: int, asked: dict[str, int], expected: int | None
) -> None:
    if train:
        write_toy_store(toy_artifacts.data_output("target"), {"train": train, "val": 1})
    else:
        # the second class has one picture
        store = write_toy_store(toy_artifacts.data_output("target"), {"train": 8, "val": 1})
        rows = np.flatnonzero((store.labels == 0) | (np.arange(len(store)) == store.labels.argmax()))
        manifest = store.manifest.iloc[rows]
        folder = toy_artifacts.data_output("target")
        write_store(folder, np.array(store.images), manifest, store.classes, store.transform, rows=rows)
    wanted = replace(config(minutes=1000), search=Search(**asked))
    plan(wanted, toy_artifacts)
    found = planned(wanted, toy_artifacts).search
    if expected is None:
        assert found.validation is ValidationName.holdout
    else:
        assert (found.validation, found.folds) == (ValidationName.kfold, expected)


def test_there_is_no_second_and_no_date_in_a_plan(after: Artifacts) -> None:
    found = read_json(after.outputs / "plan" / PLAN)
    assert set(found) == {"basis", "settings"}
    assert all(isinstance(value, (bool, int, str, list, type(None))) for value in found["settings"].values())


def test_later_stages_obey_what_was_decided(after: Artifacts) -> None:
    found = planned(config(), after)
    assert found.search.trials == read_json(after.outputs / "plan" / PLAN)["settings"]["search.trials"]
    assert found.finetune.refit


@pytest.mark.parametrize("helps", [True, False])
def test_mirror_images_teach_where_a_look_says_that_they_help(
    toy_artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, helps: bool
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("thawline.plan.plan.mirrored_too", lambda *_, **__: helps)
    asked = config()
    asked = replace(asked, target=replace(asked.target, mirror=True))
    plan(asked, toy_artifacts)
    expected = AugmentationName.mirror if helps else AugmentationName.none
    assert planned(asked, toy_artifacts).finetune.augmentation is expected
    assert f"mirror images, too, are {'' if helps else 'no '}better on pictures left out" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize(
    "reason",
    [{"mirror": False}, {"augmentation": AugmentationName.standard}, {"mix": Mix.mixup}, {"share": 0.0}],
)
def test_nobody_looks_where_mirror_images_would_be_wrong_or_too_late(
    toy_artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch, reason: dict[str, Any]
) -> None:
    monkeypatch.setattr("thawline.plan.plan.mirrored_too", lambda *_, **__: pytest.fail("somebody looked"))
    monkeypatch.setattr("thawline.plan.plan.SHARE_TO_LOOK", reason.pop("share", 1.0))
    mirror = reason.pop("mirror", True)
    asked = config(**reason)
    plan(replace(asked, target=replace(asked.target, mirror=mirror)), toy_artifacts)


@pytest.mark.slow
def test_whether_mirrored_pictures_keep_their_labels_is_what_decisions_were_made_from(
    toy_artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thawline.plan.plan.mirrored_too", lambda *_, **__: True)
    for mirror, expected in ((True, AugmentationName.mirror), (False, AugmentationName.none)):
        asked = config()
        asked = replace(asked, target=replace(asked.target, mirror=mirror))
        plan(asked, toy_artifacts)
        assert planned(asked, toy_artifacts).finetune.augmentation is expected


def test_a_random_start_is_planned(toy_artifacts: Artifacts) -> None:
    scratch = config(start=Start.random, body_lr=None, head_lr=1e-3)
    plan(scratch, toy_artifacts)
    # nothing that was decided contradicts it
    assert planned(scratch, toy_artifacts).finetune.start is Start.random


def test_with_too_little_time_the_source_model_s_solved_head_is_planned_and_said_to_be_all(
    toy_artifacts: Artifacts, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    scratch = config(0.01, start=Start.random, body_lr=None, head_lr=1e-3)
    plan(scratch, toy_artifacts)
    assert planned(scratch, toy_artifacts).finetune.start is Start.source
    said = caplog.text
    ((missing, minutes),) = read_json(toy_artifacts.outputs / "plan" / FORECAST)["left_out"]
    assert missing.startswith("all fine-tuning; the least of it takes")
    assert minutes >= 1
    for words in (
        "a first model is ready",
        "plan for 0.01 minutes",
        "search: none",
        "left out: all fine-tuning",
    ):
        assert words in said


@pytest.mark.parametrize(
    ("depth", "final"), [(2, "of 2 epochs with the recipe that is configured"), ("all", "the solved head")]
)
def test_without_a_search_the_configured_recipe_is_planned(
    depth: object, final: str, toy_artifacts: Artifacts, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    given = config(depth=depth, epochs=2)
    given.search.enabled = False
    plan(given, toy_artifacts)
    assert planned(given, toy_artifacts).finetune.depth == depth
    assert "search: none" in caplog.text
    assert f"finetune: {final}" in re.sub(r"\d trainings? ", "", caplog.text)
    assert "left out" not in caplog.text


def test_without_minutes_nothing_is_decided_and_nothing_computed(toy_artifacts: Artifacts) -> None:
    decide_nothing(toy_artifacts)
    assert planned(config(minutes=None), toy_artifacts) == config(minutes=None)
    folder = toy_artifacts.outputs / "plan"
    assert read_json(folder / PLAN)["settings"] == {}
    assert not (folder / "model" / "model.safetensors").exists()
    assert bundle_in(toy_artifacts.outputs) == toy_artifacts.outputs / "export"


# --- what a programme means

WORK = Work(Goal.recipe, train=80, val=20, test=50, depths=(2, 0), epochs=30, seeds=3)
COSTS = Costs({0: StepCost(0.0, 0.01, 0.04)}, half=False)


def test_a_programme_without_depths_is_the_solved_head_alone() -> None:
    found = settings(Finetune(), WORK, COSTS, 3, Programme(1, 1, 1, ()))
    assert (found["search.enabled"], found["finetune.depth"], found["finetune.seeds"]) == (False, "all", 1)


@pytest.mark.parametrize(
    "recipe",
    [
        {"augmentation": AugmentationName.standard},
        {"augmentation": AugmentationName.mirror},
        {"mix": Mix.mixup},
        {"ema": 0.9},
        {"soup": 2},
        {"frozen_batch_norm": BatchNorm.train},
        {"units": ["fc"]},
    ],
)
def test_whatever_is_configured_there_is_time_for_a_solved_head(recipe: dict[str, Any]) -> None:
    found = settings(Finetune(**recipe), WORK, COSTS, 3, Programme(1, 1, 1, ()))
    asked = Config(
        plan=Plan(5),
        target=Target(dataset=DataSetName.digits, mirror=True),
        finetune=Finetune(**recipe),
        search=Search(enabled="units" not in recipe),
    )
    planned = applied(asked, Decisions("", found)).finetune
    (only,) = phases(planned, 3, range(3))
    assert only.solved
    require_stored_pictures(planned)
    mirrored = recipe.get("augmentation") is AugmentationName.mirror
    assert planned.augmentation is (AugmentationName.mirror if mirrored else AugmentationName.none)


def test_a_head_that_is_not_linear_is_trained_as_it_is_configured() -> None:
    recipe = Finetune(augmentation=AugmentationName.standard, soup=2)
    found = settings(recipe, replace(WORK, linear=False), COSTS, 3, Programme(1, 1, 1, ()))
    assert found["finetune.depth"] == "all"
    assert not {"finetune.augmentation", "finetune.soup"} & found.keys()


def test_depths_that_are_listed_are_those_that_are_planned(toy_artifacts: Artifacts) -> None:
    initial = toy_artifacts.stage("replace_head")
    units = len(found_units(load_model(initial / MODEL, initial / CARD)[0]))

    def listed(*depths: int) -> Config:
        return replace(config(), search=Search(space=Space(depths=list(depths))))

    plan(listed(units), toy_artifacts)
    all_frozen = planned(listed(units), toy_artifacts)
    assert (all_frozen.search.enabled, all_frozen.finetune.depth) == (False, "all")
    with pytest.raises(UserError, match=rf"has {units} units"):
        plan(listed(0, units + 1), toy_artifacts)


def test_each_depth_is_tried_from_a_solved_head_and_then_the_rest() -> None:
    found = settings(Finetune(), WORK, COSTS, 3, Programme(1, 8, 2, (2, 0)))
    assert found["search.known"] == ["linear_probe", "each_depth"]
    found = settings(Finetune(), WORK, COSTS, 3, Programme(1, 8, 2, (2, 0), free=3))
    assert found["search.space.depths"] == [0, 2, 3]
    assert found["search.known"] == ["linear_probe", "each_depth", "measured"]
    assert (found["search.trials"], found["finetune.epochs"], found["finetune.seeds"]) == (6, 8, 2)
    assert (found["finetune.phases"], found["search.validation"]) == ("probe_first", "holdout")


def test_a_curve_has_trials_and_seeds_at_every_depth() -> None:
    curve = replace(WORK, goal=Goal.depth_curve)
    found = settings(Finetune(), curve, COSTS, 3, Programme(5, 8, 2, (2, 0), trials=3, again=2))
    assert (found["search.trials_per_depth"], found["search.seeds_per_depth"], found["search.folds"]) == (
        3,
        2,
        5,
    )
    assert "search.trials" not in found


def test_what_chooses_between_epochs_needs_its_validation_pictures() -> None:
    found = settings(Finetune(keep=Keep.best), WORK, COSTS, 3, Programme(1, 8, 2, (2, 0)))
    assert "finetune.refit" not in found


def test_a_reward_keeps_its_held_out_pictures_and_is_left_out_where_there_is_no_time_for_it() -> None:
    recipe = Finetune(reward=Reward.balanced_accuracy)
    found = settings(recipe, WORK, COSTS, 3, Programme(1, 8, 2, (2, 0)))
    assert not {"finetune.refit", "finetune.reward"} & found.keys()
    for programme in (Programme(1, 2, 2, (2, 0)), Programme(1, 1, 1, ())):
        assert settings(recipe, WORK, COSTS, 3, programme)["finetune.reward"] == "none"


# --- steps are timed and leave no trace


def test_timing_steps_changes_nothing_of_the_network(toy_artifacts: Artifacts) -> None:
    folder = toy_artifacts.stage("replace_head")
    network, _ = load_model(folder / "model.safetensors", folder / "card.json")
    pictures, labels = torch.rand(4, 3, 16, 16), torch.tensor([0, 1, 0, 1])
    before, generator = state_hashes(network), torch.get_rng_state()
    costs = timed(network, Finetune(), pictures, labels, [0, 2])
    assert state_hashes(network) == before
    assert all(each.requires_grad for each in network.parameters())
    assert torch.equal(torch.get_rng_state(), generator)
    assert costs.at[0].prefix == 0 < costs.at[2].prefix
    assert min(costs.at[0].step, costs.at[2].suffix) > 0


# --- the clock ends a search


def test_a_search_may_take_what_is_left_of_the_minutes_and_a_little_more(toy_artifacts: Artifacts) -> None:
    asked = config(minutes=10)
    assert seconds_for_search(asked, toy_artifacts) is None
    Clock(toy_artifacts.clock).start("fit")
    assert seconds_for_search(asked, toy_artifacts) == pytest.approx(690, abs=1)


def test_a_plan_counts_its_own_time_and_only_until_all_is_done(toy_artifacts: Artifacts) -> None:
    asked = config(minutes=10)
    clock = Clock(toy_artifacts.clock)
    count_time(toy_artifacts, "leaves", repeated=False)
    write_json(toy_artifacts.clock, {"key": clock.key, "used": 590.0, "marked": 0.0})
    # interrupted: the same goes on, and other work has all of its time
    count_time(toy_artifacts, "leaves", repeated=True)
    assert clock.used() == 590
    plan(asked, toy_artifacts)
    assert (clock.used() or 0) < 300
    assert planned(asked, toy_artifacts).search.enabled
    count_no_longer(toy_artifacts)
    assert seconds_for_search(asked, toy_artifacts) is None


def test_the_time_of_a_fit_counts_while_it_is_at_work_and_not_for_other_work_after_it_failed(
    toy_artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(toy_artifacts.clock)
    clock.start("of a fit")
    monkeypatch.setenv(COUNTED, "of a fit")
    count_time(toy_artifacts, "leaves", repeated=False)
    count_no_longer(toy_artifacts)
    assert clock.key == "of a fit"
    write_json(toy_artifacts.clock, {"key": clock.key, "used": 590.0, "marked": 0.0})
    monkeypatch.delenv(COUNTED)
    count_time(toy_artifacts, "leaves", repeated=False)
    assert clock.used() == pytest.approx(0, abs=1)


def test_a_search_by_hand_that_the_clock_may_end_obeys_the_plan_of_the_pipeline(
    toy_artifacts: Artifacts,
) -> None:
    asked = config(minutes=10)
    write_decisions(toy_artifacts.stage_output("plan") / PLAN, Decisions("b", {"search.trials": 7}))
    by_hand = Artifacts.under(toy_artifacts.root, "by-hand")
    stop_at(asked, by_hand, {})
    assert planned(asked, by_hand).search.trials == 7
    assert [as_far(each, by_hand).search.trials for each in of_each(planned(asked, by_hand))][0] == 7
    assert not (by_hand.outputs / "plan" / PLAN).exists()


@pytest.mark.slow
def test_a_reproduction_takes_as_long_as_it_takes(toy_artifacts: Artifacts) -> None:
    asked = config()
    plan(asked, toy_artifacts)
    count_no_longer(toy_artifacts)
    plan(asked, toy_artifacts)
    assert seconds_for_search(asked, toy_artifacts) is None


@pytest.mark.slow
def test_where_the_clock_ended_a_search_a_reproduction_ends_too(toy_artifacts: Artifacts) -> None:
    def trials(asked: Config) -> list[int]:
        return [as_far(each, toy_artifacts).search.trials for each in of_each(planned(asked, toy_artifacts))]

    asked = config()
    plan(asked, toy_artifacts)
    stop_at(asked, toy_artifacts, {})
    as_planned = trials(asked)
    stop_at(asked, toy_artifacts, {"finetuned": 3})
    stop_at(asked, toy_artifacts, {"from_scratch": 2})
    stop_at(asked, toy_artifacts, {})
    assert [each.name for each in asked.contenders] == ["finetuned", "linear_probe", "from_scratch"]
    assert trials(asked) == [3, as_planned[1], 2]
    more = replace(asked, plan=Plan(1000))
    plan(more, toy_artifacts)
    stop_at(more, toy_artifacts, {})
    assert min(trials(more)) > 3
    assert read_json(toy_artifacts.outputs / "plan" / STOPPED)["settings"] == {}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"search": Search(sampler=SamplerName.grid)}, "search.sampler is grid"),
        ({"finetune": Finetune(units=["fc"])}, "finetune.units says what learns"),
    ],
)
def test_what_leaves_no_depths_to_choose_from_is_not_planned(given: dict[str, Any], reason: str) -> None:
    with pytest.raises(UserError, match=rf"plan\.minutes = 5.*\n.*null, because {re.escape(reason)}"):
        Config(plan=Plan(5), **given)
