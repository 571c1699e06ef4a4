"""Which methods a study may try at which depths: the same as if each were tried at each, in less time."""

import copy
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests_networks import ReZero, Small
from torch import nn

from thawline.config.errors import UserError
from thawline.config.sections import BatchNorm, Config, Contender, Finetune, Method, Search, Space
from thawline.models.cuts import units
from thawline.search.space import depths as allowed
from thawline.search.space.depths import _outside, usable_methods
from thawline.training.finetune import with_method

METHODS = ["full", "bias", "norm", "lora", "adapter", "prompt", "scale_shift"]


def refusing(working: set[int], attempts: list[int]) -> Callable[[int], UserError | None]:
    def attempt(depth: int) -> UserError | None:
        attempts.append(depth)
        return None if depth in working else UserError(f"nothing at {depth}")

    return attempt


@given(st.integers(0, 9), st.integers(0, 9), st.sets(st.integers(0, 9), min_size=1).map(sorted))
def test_the_ends_of_what_works_are_found_from_both_sides(first: int, last: int, asked: list[int]) -> None:
    attempts: list[int] = []
    found = _outside(asked, refusing(set(range(first, last)), attempts), gaps=False)
    assert list(found) == [depth for depth in asked if not first <= depth < last]
    assert len(attempts) == len(set(attempts)) <= len(found) + 2


@given(st.sets(st.integers(0, 9)), st.sets(st.integers(0, 9), min_size=1).map(sorted))
def test_where_there_may_be_gaps_every_depth_is_tried(working: set[int], asked: list[int]) -> None:
    found = _outside(asked, refusing(working, []), gaps=True)
    assert list(found) == [depth for depth in asked if depth not in working]


def usable(network: nn.Module, methods: list[str], **recipe: BatchNorm) -> dict[int, tuple[str, ...]]:
    base = Finetune(body_lr=1e-3, head_lr=1e-2, **recipe)  # type: ignore[arg-type]
    config = Config(
        contenders=[Contender.finetuned],
        finetune=base,
        search=Search(space=Space(choices={"method": methods})),
    )
    found = units(network)
    return usable_methods(network, config, base, found, range(len(found) + 1), "it")


def works(network: nn.Module, method: str, depth: int, **recipe: BatchNorm) -> bool:
    base = Finetune(body_lr=1e-3, head_lr=1e-2, **recipe)  # type: ignore[arg-type]
    base.method = Method[method]
    try:
        with_method(copy.deepcopy(network), base, range(depth), 0)
    except UserError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize("frozen", [BatchNorm.frozen, BatchNorm.affine])
@pytest.mark.parametrize("batch_norm", [BatchNorm.frozen, BatchNorm.train])
@pytest.mark.parametrize("made", [Small, ReZero])
def test_no_method_is_lost_or_gained_by_trying_few_depths(
    frozen: BatchNorm, batch_norm: BatchNorm, made: type[nn.Module]
) -> None:
    same_as_one_by_one(made(2), METHODS, frozen_batch_norm=frozen, batch_norm=batch_norm)


@pytest.mark.parametrize("frozen", [BatchNorm.frozen, BatchNorm.affine])
def test_a_method_that_finds_nothing_at_some_depths_is_left_out_there(frozen: BatchNorm) -> None:
    same_as_one_by_one(Small(2), ["full", "bias"], frozen_batch_norm=frozen, batch_norm=BatchNorm.frozen)


def same_as_one_by_one(network: nn.Module, methods: list[str], **policies: BatchNorm) -> None:
    depths = range(len(units(network)) + 1)
    expected = {
        depth: [each for each in methods if works(network, each, depth, **policies)] for depth in depths
    }
    somewhere = [each for each in methods if any(each in expected[depth] for depth in depths[:-1])]
    assert usable(network, somewhere, **policies) == {
        depth: tuple(each for each in somewhere if each in expected[depth]) for depth in depths
    }


def test_a_method_that_works_everywhere_is_tried_at_two_depths(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def attempt(network: nn.Module, recipe: Finetune, frozen: frozenset[int], seed: int) -> nn.Module:
        tried.append((recipe.method.name, len(frozen)))
        return with_method(network, recipe, frozen, seed)

    monkeypatch.setattr(allowed, "with_method", attempt)
    usable(Small(2), ["full", "lora"])
    assert tried == [("lora", 0), ("lora", 2)]
