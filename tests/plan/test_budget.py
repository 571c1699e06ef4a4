"""What fits into the minutes."""

from dataclasses import replace

import pytest

from thawline.config.recipe.contenders import recipe_of
from thawline.config.sections import Config, Contender, Finetune, Goal, Search
from thawline.plan.budget import (
    MARGIN,
    START_SECONDS,
    TRAINING_SECONDS,
    Programme,
    Work,
    forecast,
    programmes,
    richest,
)
from thawline.plan.costs import Costs, StepCost
from thawline.plan.decisions import Decisions, applied
from thawline.plan.plan import settings
from thawline.plan.words import left_out, table
from thawline.search.space.slots import Slots

COSTS = Costs({0: StepCost(0.0, 0.01, 0.04), 20: StepCost(0.008, 0.002, 0.008)}, half=False)
"""Of a picture: full fine-tuning takes 40 ms, the last units of a network of 31 a fifth of that."""
WORK = Work(goal=Goal.recipe, train=224, val=56, test=700, depths=(15, 0, 8, 23), epochs=30, seeds=3)
CURVE = replace(WORK, goal=Goal.depth_curve, trials_per_depth=6, seeds_per_depth=5)


@pytest.mark.parametrize("work", [WORK, CURVE])
@pytest.mark.parametrize("minutes", [0.5, 1, 2, 5, 10, 30, 120, 1000])
def test_the_programme_fits_into_the_time(work: Work, minutes: float) -> None:
    found = richest(work, COSTS, 60 * minutes)
    assert not found.depths or forecast(work, COSTS, found).total <= 60 * minutes


@pytest.mark.parametrize("work", [WORK, CURVE])
def test_more_time_is_never_used_for_fewer_depths(work: Work) -> None:
    depths = [len(richest(work, COSTS, 60 * minutes).depths) for minutes in range(1, 60)]
    assert depths == sorted(depths)
    assert depths[-1] == 4


def test_with_all_the_time_there_is_the_programme_is_what_is_configured() -> None:
    found = richest(CURVE, COSTS, 1e9)
    assert found == Programme(5, 30, 3, CURVE.depths, trials=6, again=5)


def test_without_time_the_head_is_solved_and_nothing_is_fine_tuned() -> None:
    assert richest(WORK, COSTS, 10).depths == ()


def test_validation_gets_cheaper_first_then_epochs_then_seeds_and_last_there_are_fewer_questions() -> None:
    order = list(programmes(WORK))
    changed = [
        next(name for name in vars(before) if getattr(before, name) != getattr(after, name))
        for before, after in zip(order, order[1:], strict=False)
    ]
    assert list(dict.fromkeys(changed)) == ["folds", "epochs", "seeds", "free", "depths"]


def test_a_demanded_cross_validation_is_never_given_up() -> None:
    assert {each.folds for each in programmes(replace(WORK, validation="kfold"))} == {5}
    assert {each.folds for each in programmes(replace(WORK, validation="holdout"))} == {1}


def test_there_are_no_more_folds_than_pictures_allow() -> None:
    assert {each.folds for each in programmes(replace(WORK, folds=3))} == {3, 1}
    assert {each.folds for each in programmes(replace(WORK, folds=1))} == {1}


def test_the_final_fine_tuning_is_reserved_for_the_depth_that_costs_most() -> None:
    one = Programme(1, 8, 1, (23, 0))
    assert forecast(WORK, COSTS, one).finetune > forecast(WORK, COSTS, replace(one, depths=(23,))).finetune


def test_final_trainings_that_learn_from_the_validation_pictures_too_take_longer() -> None:
    one = Programme(1, 8, 1, (0,))
    refit, held_out = (forecast(replace(WORK, refit=refit), COSTS, one) for refit in (True, False))
    assert refit.finetune == pytest.approx(held_out.finetune * 280 / 224, rel=0.1)
    assert refit.search == held_out.search


def test_training_from_scratch_costs_as_many_trials_again_and_every_unit_of_the_network() -> None:
    one = Programme(1, 8, 1, (23,), free=3)
    with_it = replace(WORK, contenders=tuple(Contender))
    assert forecast(with_it, COSTS, one).search > 3 * forecast(WORK, COSTS, one).search


@pytest.mark.parametrize(
    ("work", "programme"),
    [(WORK, Programme(1, 8, 1, (15, 0), free=3)), (CURVE, Programme(1, 8, 1, (15, 0), trials=3, again=2))],
)
def test_training_from_scratch_costs_the_trials_that_its_study_has(work: Work, programme: Programme) -> None:
    decided = settings(Finetune(), work, COSTS, 31, programme)
    search = applied(Config(search=Search(goal=work.goal)), Decisions("", decided)).search
    recipe = recipe_of(Contender.from_scratch, Finetune())
    trials = Slots(search, recipe, [0], (), None).total
    with_it = replace(work, contenders=tuple(Contender))
    more = forecast(with_it, COSTS, programme).search - forecast(work, COSTS, programme).search
    assert more == pytest.approx(MARGIN * trials * (8 * (224 * 0.04 + 56 * 0.01) + TRAINING_SECONDS))


def test_pictures_that_are_new_in_every_epoch_pay_for_the_frozen_units_in_every_epoch() -> None:
    one = Programme(1, 8, 1, (23,))
    assert forecast(replace(WORK, stored=False), COSTS, one).total > forecast(WORK, COSTS, one).total


def test_what_a_depth_costs_lies_in_a_straight_line_between_those_that_were_timed() -> None:
    assert COSTS.of(10).step == pytest.approx(0.024)
    assert COSTS.of(25) == COSTS.of(20)


def test_without_a_search_all_the_time_is_for_the_final_trainings() -> None:
    alone = replace(WORK, searched=False, depths=(8,), stored=False)
    programme = richest(alone, COSTS, 1e9)
    assert (programme.epochs, programme.seeds, programme.depths) == (WORK.epochs, WORK.seeds, (8,))
    without = forecast(alone, COSTS, programme)
    assert without.search == START_SECONDS
    assert without.finetune == forecast(replace(alone, searched=True), COSTS, programme).finetune
    told = "\n".join(table(10, 0, alone, programme, without))
    assert "search: none, as search=off says" in told
    assert "with the recipe that is configured" in told
    assert not list(left_out(alone, COSTS, programme, without))


def test_the_review_is_over_when_the_search_begins() -> None:
    more = replace(WORK, val=10_056, refit=False)
    programme = Programme(1, 3, 1, (15,))
    assert forecast(more, COSTS, programme).review > forecast(WORK, COSTS, programme).review + 300
    assert forecast(more, COSTS, programme).rest == forecast(WORK, COSTS, programme).rest
    lines = list(table(10, 0, WORK, programme, forecast(WORK, COSTS, programme)))
    assert [line.split()[0].strip(":") for line in lines[2:6]] == ["review", "search", "finetune", "export,"]


def test_a_head_that_is_to_be_solved_leaves_nothing_to_plan() -> None:
    head = replace(WORK, searched=False, solved=True)
    programme = richest(head, COSTS, 1e9)
    assert not programme.depths
    assert not list(left_out(head, COSTS, programme, forecast(head, COSTS, programme)))
