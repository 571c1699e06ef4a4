"""When a field means something: one table for configuration, search, report and tracking."""

from dataclasses import fields
from typing import Any

import pytest

from thawline.config.choices import AugmentationName, LossName
from thawline.config.errors import FieldError
from thawline.config.recipe.meaning import (
    CONDITIONS,
    NEUTRAL,
    TRAINED,
    Situation,
    matters,
    reconciled,
    solved,
)
from thawline.config.recipe.rewards import Reward
from thawline.config.sections import BatchNorm, Config, Finetune, Keep, Method, Mix, Phases, Start
from thawline.data.augment import FIXED

HALF, ALL = Situation(2, 4), Situation(4, 4)
NAMES = {each.name for each in fields(Finetune)}


def test_conditions_are_of_fields_that_exist() -> None:
    assert CONDITIONS.keys() | set(TRAINED) | NEUTRAL.keys() <= NAMES


def test_what_is_neutral_is_the_default() -> None:
    assert {name: getattr(Finetune(), name) for name in NEUTRAL} == NEUTRAL


@pytest.mark.parametrize(
    ("changes", "at", "expected"),
    [
        ({}, ALL, True),
        ({}, HALF, False),
        ({}, Situation(4, 4, linear_head=False), False),
        ({"frozen_batch_norm": BatchNorm.affine}, ALL, False),
        ({"frozen_batch_norm": BatchNorm.statistics}, ALL, False),
        ({"start": Start.random, "body_lr": None, "head_lr": 1e-3}, Situation(0, 4), False),
    ],
)
def test_a_head_is_solved_where_it_learns_alone_and_is_linear(
    changes: dict[str, Any], at: Situation, expected: bool
) -> None:
    assert solved(vars(Finetune(**changes)), at) == expected


def test_of_a_solved_head_little_means_anything() -> None:
    values = vars(Finetune(mix=Mix.mixup, soup=2))
    means = {name for name in NAMES if matters(name, values, ALL)}
    always = {"start", "depth", "units", "frozen_batch_norm", "label_smoothing", "class_weights", "seeds"}
    always |= {"refit", "loss"}
    assert means == always | {"head_cuts", "head_penalty"}
    assert matters("augmentation", vars(Finetune(augmentation=AugmentationName.mirror)), ALL)


def test_a_number_of_views_means_something_where_a_seed_decides_them() -> None:
    fixed = {
        each for each in AugmentationName if not matters("views", vars(Finetune(augmentation=each)), HALF)
    }
    assert fixed == set(FIXED)


@pytest.mark.parametrize(("name", "kept"), [("mirror", "mirror"), ("standard", "none")])
def test_a_solved_head_sees_mirror_images_and_no_random_changes(name: str, kept: str) -> None:
    values = vars(Finetune(augmentation=AugmentationName[name]))
    assert reconciled(values, ALL)["augmentation"] is AugmentationName[kept]


def test_a_robust_losses_number_means_something_for_it_alone() -> None:
    for loss, own in (("cross_entropy", set()), ("generalised", {"loss_q"}), ("symmetric", {"loss_reverse"})):
        values = vars(Finetune(loss=LossName[loss]))
        assert {name for name in ("loss_q", "loss_reverse") if matters(name, values, ALL)} == own


@pytest.mark.parametrize("method", Method)
def test_a_methods_own_fields_mean_something_for_it_alone(method: Method) -> None:
    values = vars(Finetune(method=method))
    own = {name for each in Method for name in each.row.fields if matters(name, values, HALF)}
    assert own == set(method.row.fields)


def test_layer_decay_needs_two_units_that_learn() -> None:
    plain, affine = Finetune(), Finetune(frozen_batch_norm=BatchNorm.affine)
    assert not matters("layer_decay", vars(plain), Situation(3, 4))
    assert matters("layer_decay", vars(affine), Situation(3, 4))


def test_a_share_of_epochs_comes_first_only_where_that_phase_is_trained() -> None:
    probe, gradual = (vars(Finetune(phases=kind)) for kind in (Phases.probe_first, Phases.gradual))
    assert not matters("phase_share", probe, HALF)
    assert matters("phase_share", probe, Situation(2, 4, linear_head=False))
    assert matters("phase_share", gradual, HALF)


def test_lp_ft_has_a_rate_for_its_head_only_where_the_probe_is_trained() -> None:
    solved, moving = (
        vars(Finetune(phases=Phases.probe_first, frozen_batch_norm=policy))
        for policy in (BatchNorm.frozen, BatchNorm.statistics)
    )
    assert {name for name in ("head_lr", "head_penalty", "head_scale") if matters(name, solved, HALF)} == {
        "head_penalty",
        "head_scale",
    }
    trained = {name for name in ("head_lr", "phase_share", "head_penalty") if matters(name, moving, HALF)}
    assert trained == {"head_lr", "phase_share"}
    # in that phase all units are frozen, at depth 0 as well
    assert matters("frozen_batch_norm", moving, Situation(0, 4))


def test_only_a_head_that_is_solved_reads_several_cuts() -> None:
    for phases, at, means in (
        (Phases.one, ALL, True),
        (Phases.one, HALF, False),
        (Phases.probe_first, HALF, True),
        (Phases.gradual, HALF, False),
    ):
        assert matters("head_cuts", vars(Finetune(phases=phases, head_cuts=[1])), at) is means
    assert not matters("head_cuts", vars(Finetune(head_cuts=[1])), Situation(4, 4, linear_head=False))


def test_a_reward_means_something_where_something_is_trained() -> None:
    values = vars(Finetune(reward=Reward.f_beta, reward_class="a"))
    means = {name for name in NAMES if name.startswith("reward") and matters(name, values, HALF)}
    assert means == {"reward", "reward_share", "reward_kl", "reward_class", "reward_beta"}
    assert not any(matters(name, values, ALL) for name in NAMES if name.startswith("reward"))
    plain = vars(Finetune())
    assert {name for name in NAMES if name.startswith("reward") and matters(name, plain, HALF)} == {"reward"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"mix": Mix.mixup},
            "mix = .*mixup.* is not allowed(?s:.*)none, because reward is balanced_accuracy",
        ),
        ({"keep": Keep.best}, "keep = (?s:.*)because reward is balanced_accuracy, and the best epoch"),
        ({"soup": 2}, "soup = 2 (?s:.*)a soup is chosen by accuracy"),
        ({"wise_ft": 0.5}, "wise_ft = 0.5 (?s:.*)reward_kl is what holds the model"),
        ({"epochs": 1}, "reward = .*because epochs is 1(?s:.*)|reward = (?s:.*)needs 2 or more"),
        (
            {"epochs": 2, "phases": Phases.gradual},
            "reward = (?s:.*)phases is gradual, and .* needs 3 or more",
        ),
        ({"reward": Reward.f_beta}, "reward_class = None (?s:.*)the name of a class"),
        ({"reward_share": 1.0}, "reward_share = 1.0 (?s:.*)between 0 and 1"),
        ({"reward_kl": -1.0}, "reward_kl = -1.0 (?s:.*)0 or more"),
        ({"reward_costs": [[0, 1]]}, "reward_costs = (?s:.*)as many rows as columns"),
    ],
)
def test_what_a_reward_rules_out_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(FieldError, match=message):
        Finetune(**{"reward": Reward.balanced_accuracy, **changes})


def test_where_a_head_is_solved_a_reward_is_left_out() -> None:
    values = reconciled(vars(Finetune(reward=Reward.balanced_accuracy)) | {"depth": "all"}, ALL)
    assert values["reward"] is Reward.none


def test_a_reward_for_costs_needs_a_table_of_them() -> None:
    with pytest.raises(FieldError, match=r"evaluate\.costs = None(?s:.*)because finetune\.reward is costs"):
        Config(finetune=Finetune(reward=Reward.costs))
