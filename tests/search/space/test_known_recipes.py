"""Known good recipes are tried first."""

from dataclasses import replace
from typing import Any

import pytest
from optuna.trial import FixedTrial

from thawline.config.search import EACH_DEPTH, KNOWN
from thawline.config.sections import (
    BatchNorm,
    Finetune,
    Method,
    OptimizerName,
    Phases,
    Range,
    ScheduleName,
    Search,
    Space,
    Start,
)
from thawline.search.space import known_recipes
from thawline.search.space.known_recipes import RECIPES, known
from thawline.search.space.parameters import TrialSpace, recipe_of_trial
from thawline.strategy.rule import Prior

BASE = Finetune(depth=2, body_lr=1e-3, head_lr=5e-3)
ALL = [0, 1, 2, 3]


@pytest.fixture(autouse=True)
def nothing_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_recipes, "PRIOR", None)


@pytest.fixture
def half(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_recipes, "PRIOR", Prior(depth=0.5, body_lr=2e-3))


def names(search: Search | None = None, base: Finetune = BASE, allowed: list[int] = ALL) -> list[str]:
    return [slot.attrs["known"] for slot in known(TrialSpace(search or Search(), base, allowed, 3))]


def recipes(
    search: Search | None = None, base: Finetune = BASE, linear_head: bool = True
) -> dict[str, Finetune]:
    """Every known recipe as its trial reads it."""
    space = TrialSpace(search or Search(), base, ALL, 3, linear_head=linear_head)
    found = {}
    for slot in known(space):
        trial: Any = FixedTrial(dict(slot.params))
        trial.user_attrs.update(slot.attrs)
        found[slot.attrs["known"]] = recipe_of_trial(trial, space)
    return found


def test_every_name_that_the_configuration_knows_has_a_recipe() -> None:
    assert {*RECIPES, EACH_DEPTH} == set(KNOWN)


def test_the_configured_recipe_is_first_as_it_stands() -> None:
    assert names() == ["configured", "linear_probe", "full", "lp_ft", "bit"]
    assert recipes()["configured"] == BASE


def test_where_each_depth_is_tried_the_cheapest_is_first() -> None:
    search = Search(known=["linear_probe", EACH_DEPTH])
    # as a plan has it: the head that is found when all units are frozen is the linear probe's
    base = replace(BASE, phases=Phases.probe_first)
    found = known(TrialSpace(search, base, [0, 2, 3], 3))
    assert [slot.params["depth"] for slot in found] == [3, 2, 0]
    assert [slot.attrs["known"] for slot in found] == ["linear_probe", EACH_DEPTH, EACH_DEPTH]


def test_the_configured_recipe_stays_as_it_stands_where_lists_lack_its_values() -> None:
    search = Search(space=Space(choices={"weight_decay": [0.0, 0.5], "optimizer": ["sgd", "lamb"]}))
    assert recipes(search)["configured"] == BASE


def test_a_linear_probe_trains_the_head_alone() -> None:
    base = replace(BASE, frozen_batch_norm=BatchNorm.affine)
    probe = recipes(base=base, linear_head=False)["linear_probe"]
    assert (probe.depth, probe.head_lr, probe.body_lr) == ("all", 1e-2, None)
    assert probe.frozen_batch_norm is BatchNorm.frozen


def test_full_trains_everything_and_the_head_tenfold() -> None:
    full = recipes(base=replace(BASE, phases=Phases.gradual, layer_decay=0.8, l2_sp=0.1))["full"]
    assert (full.depth, full.head_lr, full.body_lr) == (0, pytest.approx(1e-2), 1e-3)
    assert (full.phases, full.layer_decay, full.l2_sp) == (Phases.one, 1.0, 0.0)


def test_lp_ft_trains_the_head_before_everything() -> None:
    full = recipes()["full"]
    # the head is solved first and learns at the body's rate then: it has no rate of its own
    assert replace(recipes()["lp_ft"], head_lr=full.head_lr) == replace(full, phases=Phases.probe_first)


def test_bit_is_the_papers_rule() -> None:
    bit = recipes()["bit"]
    assert (bit.optimizer, bit.momentum, bit.weight_decay) == (OptimizerName.sgd, 0.9, 0.0)
    assert (bit.depth, bit.head_lr, bit.body_lr, bit.schedule) == (0, 3e-3, 3e-3, ScheduleName.step)


def test_what_was_measured_to_be_best_is_tried_at_the_nearest_depth_that_learns(half: None) -> None:
    assert names() == ["configured", "linear_probe", "measured", "full", "lp_ft", "bit"]
    best = recipes()["measured"]
    assert (best.depth, best.body_lr, best.phases) == (2, 2e-3, Phases.probe_first)
    assert best.batch_norm is BatchNorm.frozen
    (slot,) = [
        each for each in known(TrialSpace(Search(), BASE, [0, 3], 3)) if each.attrs["known"] == "measured"
    ]
    assert slot.params["depth"] == 0


def test_it_is_left_out_where_no_recipe_was_measured_to_be_better() -> None:
    assert "measured" not in names(base=replace(BASE, depth=3))
    assert "measured" not in names(base=replace(BASE, depth=0.9))


def test_it_is_left_out_where_nothing_or_too_briefly_is_fine_tuned(half: None) -> None:
    assert "measured" not in names(allowed=[3])
    assert "measured" not in names(base=replace(BASE, epochs=1))


def test_what_the_space_holds_is_a_parameter_and_the_rest_a_change() -> None:
    search = Search(space=Space(choices={"weight_decay": [0.0, 0.01], "schedule": ["cosine", "linear"]}))
    bit = known(TrialSpace(search, BASE, ALL, 3))[-1]
    assert bit.params["weight_decay"] == 0.0
    assert bit.attrs["changes"] == {"optimizer": "sgd", "schedule": "step"}


def test_a_list_of_one_value_fixes_it_for_known_recipes_too() -> None:
    search = Search(space=Space(choices={"weight_decay": [0.1]}))
    assert {recipe.weight_decay for recipe in recipes(search, linear_head=False).values()} == {0.1}


def test_rates_are_moved_into_the_searched_range() -> None:
    search = Search(space=Space(body_lr=Range(1e-5, 1e-3), head_lr=Range(1e-4, 4e-3)))
    assert recipes(search)["bit"].body_lr == 1e-3
    assert recipes(search, linear_head=False)["linear_probe"].head_lr == 4e-3


def test_a_recipe_that_the_configured_one_is_already_is_not_tried_twice() -> None:
    base = Finetune(depth=0, body_lr=3e-4, head_lr=3e-3)  # 10 * 3e-4 is not quite 3e-3
    assert names(base=base) == ["configured", "linear_probe", "lp_ft", "bit"]


def test_recipes_at_depths_that_are_not_searched_are_left_out() -> None:
    assert names(allowed=[1, 2, 3]) == ["configured", "linear_probe"]
    assert names(allowed=[0, 2]) == ["configured", "full", "lp_ft", "bit"]


def test_the_configured_recipe_moves_to_the_nearest_depth() -> None:
    assert known(TrialSpace(Search(), BASE, [0, 3], 3))[0].params["depth"] == 3
    assert known(TrialSpace(Search(), replace(BASE, depth=0.4), ALL, 3))[0].params["depth"] == 1


def test_nobody_gets_a_method_that_was_not_asked_for() -> None:
    lora = replace(BASE, method=Method.lora)
    assert names(base=lora) == ["configured", "linear_probe"]
    search = Search(space=Space(choices={"method": ["full", "lora"]}))
    assert names(search, lora) == ["configured", "linear_probe", "full", "lp_ft", "bit"]


def test_baselines_and_surgical_recipes_try_only_themselves() -> None:
    assert names(base=Finetune(depth="all", head_lr=1e-2), allowed=[3]) == ["configured"]
    assert names(base=Finetune(start=Start.random, body_lr=None, head_lr=1e-3), allowed=[0]) == ["configured"]
    assert names(base=Finetune(units=["layer1"], head_lr=1e-2), allowed=[0]) == ["configured"]


def test_two_phases_need_two_epochs() -> None:
    assert "lp_ft" not in names(base=replace(BASE, epochs=1))


def test_known_recipes_can_be_named_or_turned_off() -> None:
    assert names(Search(known=["bit"])) == ["configured", "bit"]
    assert names(Search(known=[])) == ["configured"]


def test_the_name_of_a_unit_must_have_been_resolved() -> None:
    with pytest.raises(ValueError, match="'layer2' must be resolved"):
        known(TrialSpace(Search(), replace(BASE, depth="layer2"), ALL, 3))
