"""Every point of the space."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import FixedTrial

from thawline.config.errors import UserError
from thawline.config.sections import Finetune, Range, SamplerName, Search, Space
from thawline.search.space import parameters
from thawline.search.space.grid import count, grid, refuse_part
from thawline.search.space.parameters import TrialSpace, suggest

BASE = Finetune(body_lr=1e-3, head_lr=1e-2)


def searching(points: int = 2, **choices: list) -> Search:
    given = Space(head_lr=Range(1e-3, 1e-1), body_lr=Range(1e-4, 1e-2), choices=choices)
    return Search(sampler=SamplerName.grid, grid_points=points, space=given)


def trained_probe(points: int) -> TrialSpace:
    """All frozen, below a head that is not linear."""
    return TrialSpace(searching(points), Finetune(depth="all", head_lr=1e-2), [3], 3, linear_head=False)


def test_rates_are_spaced_evenly_on_a_logarithmic_scale() -> None:
    found = grid(trained_probe(3))
    assert [point["head_lr"] for point in found] == pytest.approx([1e-3, 1e-2, 1e-1])


def test_one_value_of_a_rate_is_in_the_middle_of_its_range() -> None:
    assert grid(trained_probe(1)) == [{"head_lr": pytest.approx(1e-2)}]


def test_where_all_is_frozen_there_is_no_body_rate_to_vary() -> None:
    found = grid(TrialSpace(searching(3), BASE, [1, 3], 3, linear_head=False))
    assert [point["depth"] for point in found] == [1] * 9 + [3] * 3
    assert all(("body_lr" in point) == (point["depth"] == 1) for point in found)


def test_where_a_solved_head_alone_learns_there_is_one_point() -> None:
    assert grid(TrialSpace(searching(3), BASE, [3], 3)) == [{}]
    assert [point["depth"] for point in grid(TrialSpace(searching(2), BASE, [2, 3], 3))] == [2] * 4 + [3]


def test_a_field_multiplies_only_the_combinations_in_which_it_exists() -> None:
    search = searching(1, method=["full", "lora"], lora_rank=[2, 4, 8])
    found = [(point["method"], point.get("lora_rank")) for point in grid(TrialSpace(search, BASE, [0], 3))]
    assert found == [("full", None), ("lora", 2), ("lora", 4), ("lora", 8)]


def test_methods_that_do_nothing_at_a_depth_are_not_in_the_grid_there() -> None:
    search, usable = searching(1, method=["full", "norm"]), {0: ("full", "norm"), 1: ("full",)}
    found = grid(TrialSpace(search, BASE, [0, 1], 3, usable))
    assert [(point["depth"], point.get("method")) for point in found] == [(0, "full"), (0, "norm"), (1, None)]


@settings(deadline=None, max_examples=15)
@given(
    st.lists(st.integers(0, 3), min_size=1, unique=True).map(sorted),
    st.integers(1, 2),
    st.sets(st.sampled_from(["phases", "phase_share", "layer_decay", "optimizer", "momentum"])),
)
def test_no_two_points_are_the_same_and_each_is_a_recipe(
    depths: list[int], points: int, names: set[str]
) -> None:
    listed = {
        "phases": ["one", "gradual"],
        "phase_share": [0.3, 0.5],
        "layer_decay": [0.7, 1.0],
        "optimizer": ["adamw", "sgd"],
        "momentum": [0.0, 0.9],
    }
    search = searching(points, **{name: listed[name] for name in names})
    space = TrialSpace(search, BASE, depths, 3)
    found = grid(space)
    recipes = [suggest(FixedTrial(point), space) for point in found]
    assert len({repr(recipe) for recipe in recipes}) == len(found)
    assert grid(space) == found
    assert count(space) == (len(found), True)


def test_counting_lists_only_what_others_depend_on(monkeypatch: pytest.MonkeyPatch) -> None:
    walked = walks(monkeypatch)
    search = searching(4, optimizer=["adamw", "sgd"], momentum=[0.0, 0.9], batch_size=[8, 16, 32])
    assert count(TrialSpace(search, BASE, [0, 1, 2], 3)) == (3 * 4 * 4 * 3 * (1 + 2), True)
    assert len(walked) == 3 * 2


def test_a_grid_that_is_far_too_large_is_not_counted_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    walked = walks(monkeypatch)
    monkeypatch.setattr("thawline.search.space.grid.COUNTED", 8)
    search = searching(2, epochs=list(range(1, 101)))
    assert count(TrialSpace(search, BASE, [0], 3)) == (8 * 4, False)
    assert len(walked) == 9
    search.trials = 200
    assert count(TrialSpace(search, BASE, [0], 3)) == (51 * 4, False)
    search.trials = 500
    assert count(TrialSpace(search, BASE, [0], 3)) == (400, True)


def walks(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """One for each combination that is walked from now on."""
    found: list[object] = []

    def walk(*arguments: Any) -> object:
        found.append(arguments)
        return parameters.walk(*arguments)

    monkeypatch.setattr("thawline.search.space.grid.walk", walk)
    return found


def test_a_grid_that_does_not_fit_is_refused_with_the_number_to_set() -> None:
    search = searching()
    with pytest.raises(
        UserError, match=r"'grid' has 16 points, but search\.trials = 15(?s:.*)search\.trials=16"
    ):
        refuse_part(search, 16)
    refuse_part(search, 15)
    with pytest.raises(UserError, match=r"more than 3000 points(?s:.*)search\.trials=as many, or fewer"):
        refuse_part(search, 3000, False)
