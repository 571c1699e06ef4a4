"""What a trial may vary."""

import optuna
from hypothesis import given
from hypothesis import strategies as st

from thawline.config.sections import Contender, Finetune, Range, Search, Space, Start
from thawline.search.space import depths, point, suggest

RECIPE = Finetune(body_lr=1e-3, head_lr=1e-2)
SCRATCH = Finetune(start=Start.random, depth=0, body_lr=None, head_lr=1e-3)


def test_the_fine_tuned_model_may_freeze_from_nothing_to_everything() -> None:
    assert depths(Search(), Contender.finetuned, RECIPE, 3) == [0, 1, 2, 3]
    assert depths(Search(space=Space(depths=[0, 2])), Contender.finetuned, RECIPE, 3) == [0, 2]


def test_the_baselines_have_one_depth() -> None:
    assert depths(Search(), Contender.linear_probe, RECIPE, 3) == [3]
    assert depths(Search(), Contender.from_scratch, SCRATCH, 3) == [0]


def test_a_random_start_is_never_frozen_whoever_asks() -> None:
    assert depths(Search(), Contender.finetuned, SCRATCH, 3) == [0]


@given(st.integers(0, 3), st.integers(0, 100))
def test_the_body_has_a_rate_exactly_if_some_of_it_is_unfrozen(depth: int, seed: int) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    study.enqueue_trial({"depth": depth})
    recipe = suggest(study.ask(), RECIPE, Search(), [0, 1, 2, 3], 3)
    assert recipe.depth == ("all" if depth == 3 else depth)
    assert (recipe.body_lr is not None) == (depth < 3)
    assert recipe.head_lr is not None
    assert 3e-4 <= recipe.head_lr <= 3e-2


def test_from_scratch_searches_one_rate() -> None:
    trial = optuna.create_study().ask()
    assert suggest(trial, SCRATCH, Search(), [0], 3).body_lr is None
    assert list(trial.params) == ["head_lr"]


def test_a_whole_network_has_rates_of_its_own() -> None:
    search = Search(space=Space(head_lr=Range(1e-2, 1e-1), scratch_lr=Range(1e-4, 1e-3)))
    recipe = suggest(optuna.create_study().ask(), SCRATCH, search, [0], 3)
    assert recipe.head_lr is not None
    assert 1e-4 <= recipe.head_lr <= 1e-3


def test_a_recipe_becomes_the_first_point_within_the_ranges() -> None:
    search = Search(space=Space(head_lr=Range(1e-4, 5e-3)))
    assert point(RECIPE, search, [0, 1, 2, 3], 1, 3) == {"depth": 1, "head_lr": 5e-3, "body_lr": 1e-3}
    assert point(SCRATCH, search, [0], 0, 3) == {"head_lr": 1e-3}


def test_a_point_and_its_recipe_are_the_same() -> None:
    fixed = optuna.trial.FixedTrial(point(RECIPE, Search(), [0, 1], 1, 3))
    again = suggest(fixed, RECIPE, Search(), [0, 1], 3)
    assert (again.depth, again.head_lr, again.body_lr) == (1, 1e-2, 1e-3)


def test_a_body_without_a_rate_stays_frozen() -> None:
    base = Finetune(depth="all", body_lr=None, head_lr=1e-2)
    assert depths(Search(), Contender.finetuned, base, 9) == [9]
