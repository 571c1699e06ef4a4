"""What a trial may vary, and when."""

from dataclasses import replace
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import FixedTrial

from thawline.config.recipe.meaning import CONDITIONS, DECISIVE
from thawline.config.sections import (
    AugmentationName,
    Contender,
    Finetune,
    Method,
    Mix,
    OptimizerName,
    Phases,
    Range,
    Search,
    Space,
    Start,
)
from thawline.search.space.parameters import (
    ORDER,
    TrialSpace,
    depths,
    point,
    recipe_of_trial,
    suggest,
)

RECIPE = Finetune(body_lr=1e-3, head_lr=1e-2)
SCRATCH = Finetune(start=Start.random, depth=0, body_lr=None, head_lr=1e-3)
PROBE = Finetune(depth="all", head_lr=1e-2)
ALL = [0, 1, 2, 3]

WIDE: dict[str, list[Any]] = {
    "method": ["full", "bias", "lora", "adapter", "prompt", "scale_shift"],
    "phases": ["one", "probe_first", "gradual"],
    "phase_share": [0.3, 0.5],
    "head_penalty": [1.0, 10.0],
    "head_scale": [0.5, 1.0],
    "layer_decay": [0.7, 1.0],
    "frozen_batch_norm": ["frozen", "affine"],
    "batch_norm": ["train", "frozen"],
    "l2_sp": [0.0, 0.01],
    "wise_ft": [0.5, 1.0],
    "lora_rank": [2, 8],
    "adapter_width": [8, 16],
    "prompt_tokens": [4, 8],
    "prompt_deep": [True, False],
    "optimizer": ["adamw", "sgd"],
    "momentum": [0.0, 0.9],
    "weight_decay": [0.0, 0.1],
    "decay_all": [False, True],
    "epochs": [1, 10],
    "augmentation": ["none", "standard"],
    "mix": ["none", "mixup"],
    "mix_alpha": [0.2, 1.0],
    "views": [0, 4],
}
"""A value of every kind of field."""


def choosing(**choices: list[Any]) -> Search:
    return Search(space=Space(choices=choices))


EVERYTHING = choosing(**WIDE)
WIDEST = TrialSpace(EVERYTHING, RECIPE, ALL, 3)
FEW = settings(deadline=None, max_examples=20)


def tried(
    search: Search, base: Finetune = RECIPE, seed: int = 0, linear_head: bool = True, **fixed: Any
) -> tuple[Finetune, set[str]]:
    """A recipe drawn at random with some parameters `fixed`, and the names of all of its parameters."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    study.enqueue_trial(fixed)
    trial = study.ask()
    return suggest(trial, TrialSpace(search, base, ALL, 3, linear_head=linear_head)), set(trial.params)


# --- depth and rates


def test_the_fine_tuned_model_may_freeze_from_nothing_to_everything() -> None:
    assert depths(Search(), Contender.finetuned, RECIPE, 3) == [0, 1, 2, 3]


def test_listed_depths_are_tried_in_order_and_once() -> None:
    assert depths(Search(space=Space(depths=[2, 0, 2])), Contender.finetuned, RECIPE, 3) == [0, 2]


def test_the_baselines_have_one_depth() -> None:
    assert depths(Search(), Contender.linear_probe, RECIPE, 3) == [3]
    assert depths(Search(), Contender.from_scratch, SCRATCH, 3) == [0]


def test_a_random_start_is_never_frozen_whoever_asks() -> None:
    assert depths(Search(), Contender.finetuned, SCRATCH, 3) == [0]


def test_a_body_without_a_rate_stays_frozen() -> None:
    base = Finetune(depth="all", body_lr=None, head_lr=1e-2)
    assert depths(Search(), Contender.finetuned, base, 9) == [9]


@FEW
@given(st.integers(0, 3), st.integers(0, 100))
def test_the_body_has_a_rate_exactly_if_some_of_it_is_unfrozen(depth: int, seed: int) -> None:
    recipe, parameters = tried(Search(), seed=seed, linear_head=False, depth=depth)
    assert recipe.depth == ("all" if depth == 3 else depth)
    assert (recipe.body_lr is not None) == ("body_lr" in parameters) == (depth < 3)
    assert recipe.head_lr is not None
    assert 3e-4 <= recipe.head_lr <= 3e-2


def test_a_whole_network_has_one_rate_from_a_range_of_its_own() -> None:
    search = Search(space=Space(head_lr=Range(1e-2, 1e-1), scratch_lr=Range(1e-4, 1e-3)))
    trial = optuna.create_study().ask()
    recipe = suggest(trial, TrialSpace(search, SCRATCH, [0], 3))
    assert recipe.body_lr is None
    assert list(trial.params) == ["head_lr"]
    assert 1e-4 <= trial.params["head_lr"] <= 1e-3


@pytest.mark.parametrize(
    ("allowed", "kind"),
    [
        ([0, 1, 2, 3], optuna.distributions.IntDistribution(0, 3)),
        ([0, 3], optuna.distributions.IntDistribution(0, 3, step=3)),
        ([1, 3, 5], optuna.distributions.IntDistribution(1, 5, step=2)),
        ([0, 1, 3], optuna.distributions.CategoricalDistribution((0, 1, 3))),
    ],
)
def test_evenly_spaced_depths_are_a_number_whose_order_samplers_know(allowed: list[int], kind: Any) -> None:
    trial = optuna.create_study().ask()
    suggest(trial, TrialSpace(Search(), RECIPE, allowed, 9))
    assert trial.distributions["depth"] == kind


# --- any other field


def test_a_listed_field_is_a_parameter_and_its_value_is_in_the_recipe() -> None:
    recipe, parameters = tried(
        choosing(weight_decay=[0.0, 0.1], optimizer=["adamw", "lamb"]), optimizer="lamb"
    )
    assert parameters == {"depth", "head_lr", "weight_decay", "optimizer"} | (
        {"body_lr"} if recipe.body_lr else set()
    )
    assert recipe.optimizer is OptimizerName.lamb
    assert recipe.weight_decay in (0.0, 0.1)


def test_a_list_of_one_value_fixes_it_without_a_parameter() -> None:
    recipe, parameters = tried(choosing(weight_decay=[0.3]))
    assert recipe.weight_decay == 0.3
    assert "weight_decay" not in parameters


@pytest.mark.parametrize(
    ("field", "where", "elsewhere"),
    [
        ("head_penalty", {"phases": "probe_first"}, {"phases": "gradual"}),
        ("head_scale", {"phases": "probe_first"}, {"phases": "one"}),
        ("momentum", {"optimizer": "sgd"}, {"optimizer": "adamw"}),
        ("mix_alpha", {"mix": "mixup"}, {"mix": "none"}),
        ("decay_all", {"weight_decay": 0.1}, {"weight_decay": 0.0}),
        ("lora_rank", {"method": "lora"}, {"method": "full"}),
        ("l2_sp", {"method": "bias"}, {"method": "scale_shift"}),
        ("wise_ft", {"method": "scale_shift"}, {"method": "lora"}),
        ("phases", {"epochs": 10}, {"epochs": 1}),
        ("method", {"depth": 2}, {"depth": 3}),
        ("batch_norm", {"depth": 2}, {"depth": 3}),
        ("frozen_batch_norm", {"depth": 3}, {"depth": 0}),
        ("l2_sp", {"depth": 3, "frozen_batch_norm": "affine"}, {"depth": 3, "frozen_batch_norm": "frozen"}),
        ("body_lr", {"depth": 3, "frozen_batch_norm": "affine"}, {"depth": 3, "frozen_batch_norm": "frozen"}),
    ],
)
def test_a_field_exists_only_where_it_means_something(
    field: str, where: dict[str, Any], elsewhere: dict[str, Any]
) -> None:
    plain = {"depth": 1, "method": "full", "phases": "probe_first", "epochs": 10}
    plain |= {"frozen_batch_norm": "frozen"}
    assert field in tried(EVERYTHING, **plain | where)[1]
    assert field not in tried(EVERYTHING, **plain | elsewhere)[1]


@FEW
@given(st.integers(0, 10_000))
def test_every_combination_is_a_recipe_that_may_be_trained(seed: int) -> None:
    recipe, _ = tried(EVERYTHING, seed=seed)  # Finetune refuses what does not fit together
    assert recipe.head_lr is not None


@FEW
@given(st.integers(0, 1000))
def test_fields_that_a_chosen_method_rules_out_are_neutral_there(seed: int) -> None:
    base = Finetune(body_lr=1e-3, head_lr=1e-2, wise_ft=0.5, soup=2, l2_sp=0.1)
    recipe, _ = tried(choosing(method=["full", "lora"]), base, seed, depth=0)
    averaged = (recipe.wise_ft, recipe.soup, recipe.l2_sp)
    assert averaged == ((0.5, 2, 0.1) if recipe.method is Method.full else (1.0, 1, 0.0))


def test_a_linear_probe_searches_nothing_of_a_body() -> None:
    trial = optuna.create_study().ask()
    suggest(trial, TrialSpace(EVERYTHING, PROBE, [3], 3, linear_head=False))
    body = {
        "method",
        "phases",
        "layer_decay",
        "frozen_batch_norm",
        "batch_norm",
        "l2_sp",
        "wise_ft",
        "body_lr",
    }
    assert not body & set(trial.params)
    assert {"head_lr", "optimizer", "augmentation"} <= set(trial.params)


HEADS = {"depth": 3, "frozen_batch_norm": "frozen"}


def test_a_solved_head_has_a_penalty_and_nothing_of_training() -> None:
    recipe, parameters = tried(EVERYTHING, **HEADS)
    assert parameters == {"depth", "frozen_batch_norm", "head_penalty"}
    assert (recipe.augmentation.name, recipe.mix.name) == ("none", "none")


def test_a_head_that_is_not_linear_is_trained_as_ever() -> None:
    recipe, parameters = tried(EVERYTHING, **HEADS, linear_head=False, mix="mixup")
    assert {"head_lr", "epochs", "optimizer", "augmentation", "mix", "mix_alpha"} <= parameters
    assert "head_penalty" not in parameters
    assert recipe.mix.name == "mixup"


def test_pictures_of_a_solved_head_vary_only_as_stored_views() -> None:
    base = Finetune(augmentation=AugmentationName.standard, mix=Mix.cutmix, soup=3, ema=0.9)
    without, _ = tried(Search(), base, **HEADS)
    assert (without.augmentation, without.mix) == (AugmentationName.none, Mix.none)
    assert (without.soup, without.ema) == (1, 0)
    assert tried(Search(), replace(base, views=4), **HEADS)[0].augmentation is AugmentationName.standard
    assert tried(Search(), base, depth=2)[0].augmentation is AugmentationName.standard


def test_a_network_from_scratch_searches_nothing_of_a_source_model() -> None:
    trial = optuna.create_study().ask()
    recipe = suggest(trial, TrialSpace(EVERYTHING, SCRATCH, [0], 3))
    assert recipe.method is Method.full
    assert not {"method", "phases", "layer_decay", "l2_sp", "wise_ft", "body_lr"} & set(trial.params)
    assert {"head_lr", "weight_decay", "mix"} <= set(trial.params)


def test_conditions_look_only_at_fields_that_are_decided_before() -> None:
    last = max(ORDER.index(name) for name in DECISIVE)
    assert all(ORDER.index(name) > last for name in CONDITIONS if name not in DECISIVE)


# --- methods that do nothing at some depths

USABLE = {0: ("full", "lora"), 1: ("full", "lora", "bias"), 2: ("full",), 3: ("full",)}
METHODS = choosing(method=["full", "bias", "lora"])


def method_at(depth: int) -> tuple[Method, dict[str, Any]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.enqueue_trial({"depth": depth})
    trial = study.ask()
    return suggest(trial, TrialSpace(METHODS, RECIPE, ALL, 3, USABLE)).method, dict(trial.distributions)


def test_where_some_methods_do_nothing_the_others_have_a_parameter_of_their_own() -> None:
    assert method_at(0)[1]["method_at_0"].choices == ("full", "lora")
    assert method_at(1)[1]["method"].choices == ("full", "bias", "lora")


def test_where_one_method_is_left_there_is_no_parameter() -> None:
    method, parameters = method_at(2)
    assert method is Method.full
    assert set(parameters) == {"depth", "head_lr", "body_lr"}


# --- recipes of trials that are over, and recipes as points


@FEW
@given(st.integers(0, 1000))
def test_a_trial_that_is_over_gives_its_recipe_again(seed: int) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    trial = study.ask()
    recipe = recipe_of_trial(trial, WIDEST)
    study.tell(trial, 0.5)
    assert recipe_of_trial(study.trials[0], WIDEST) == recipe


def test_changes_are_outside_of_the_space_for_their_trial() -> None:
    study = optuna.create_study()
    changes = {"phases": "gradual", "weight_decay": 0.5}
    study.enqueue_trial({"depth": 0}, user_attrs={"changes": changes})
    trial = study.ask()
    recipe = recipe_of_trial(trial, TrialSpace(choosing(weight_decay=[0.0, 0.1]), RECIPE, ALL, 3))
    assert (recipe.phases, recipe.weight_decay) == (Phases.gradual, 0.5)
    assert set(trial.params) == {"depth", "head_lr", "body_lr"}


def test_a_recipe_becomes_a_point_within_the_ranges() -> None:
    search = Search(space=Space(head_lr=Range(1e-4, 5e-3)))
    assert point(TrialSpace(search, RECIPE, ALL, 3), 1) == {"depth": 1, "head_lr": 5e-3, "body_lr": 1e-3}
    assert point(TrialSpace(search, SCRATCH, [0], 3), 0) == {"head_lr": 1e-3}


def test_a_point_has_the_choices_whose_list_has_the_recipes_value() -> None:
    search = choosing(
        weight_decay=[0.01, 0.1], batch_size=[8, 16], frozen_batch_norm=["frozen", "statistics"]
    )
    assert point(TrialSpace(search, RECIPE, [1, 2], 3), 1) == {
        "depth": 1,
        "head_lr": 1e-2,
        "body_lr": 1e-3,
        "weight_decay": 0.01,
        "frozen_batch_norm": "frozen",
    }


def test_a_point_names_the_method_as_the_trials_of_its_depth_do() -> None:
    assert point(TrialSpace(METHODS, RECIPE, ALL, 3, USABLE), 0)["method_at_0"] == "full"


@FEW
@given(st.integers(0, 1000), st.sampled_from(ALL))
def test_the_point_of_a_recipe_in_the_space_gives_the_recipe(seed: int, depth: int) -> None:
    recipe, _ = tried(EVERYTHING, seed=seed, depth=depth)
    again = suggest(FixedTrial(point(replace(WIDEST, base=recipe), depth)), WIDEST)
    assert again == recipe
