"""The cuts that a fine-tuning's head reads: which of those asked for, and which are chosen."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests_networks import Small
from tests_trainings import CPU, Build, recipe
from torch import nn

from thawline.config.choices import HeadVariant
from thawline.config.errors import UserError
from thawline.config.sections import Phases
from thawline.data.store import Store
from thawline.models.cuts import units
from thawline.models.head import replace_head
from thawline.models.head_cuts import read_cuts
from thawline.training.batches import batches
from thawline.training.features.cache import PrefixCache, features
from thawline.training.head_cuts import chosen_cuts, cuts_of, mirrored_too, pooled_cuts

PROBE = {"depth": "all", "body_lr": None}
LP_FT = {"phases": Phases.probe_first, "epochs": 2}


@pytest.fixture
def network(build_small: Build) -> nn.Module:
    return build_small(0)


def test_a_linear_probe_reads_the_cuts_asked_for_and_the_last(network: nn.Module) -> None:
    assert cuts_of(recipe(**PROBE, head_cuts=[1]), network) == (1, len(units(network)))
    name = units(network)[1].name
    assert cuts_of(recipe(**PROBE, head_cuts=[name, 1]), network) == (1, 2, len(units(network)))


@pytest.mark.parametrize("cuts", [None, []])
def test_none_are_the_last_cut_alone(network: nn.Module, cuts: list[int] | None) -> None:
    assert cuts_of(recipe(**PROBE, head_cuts=cuts), network) == ()


@pytest.mark.parametrize(("depth", "expected"), [(0, (1, 2, 3)), (1, (1, 2, 3)), (2, (2, 3))])
def test_cuts_inside_the_frozen_units_are_left_out_where_others_learn(
    network: nn.Module, depth: int, expected: tuple[int, ...]
) -> None:
    assert len(units(network)) == 3
    assert cuts_of(recipe(**LP_FT, depth=depth, head_cuts=[1, 2]), network) == expected


def test_a_head_that_is_trained_reads_the_last_cut(network: nn.Module) -> None:
    assert cuts_of(recipe(depth=1, head_cuts=[1]), network) == ()
    mlp = replace_head(network, 3, 0, HeadVariant.mlp)[0]
    assert cuts_of(recipe(**PROBE, head_lr=1e-2, head_cuts=[1]), mlp) == ()


def test_what_no_search_has_decided_is_refused(network: nn.Module) -> None:
    with pytest.raises(UserError, match="decided by the search"):
        cuts_of(recipe(**PROBE, head_cuts="auto"), network)


@pytest.mark.parametrize("cuts", ["some", [0], [1.5], [True], 3])
def test_only_counts_and_names_are_cuts(cuts: object) -> None:
    with pytest.raises(UserError, match="head_cuts"):
        recipe(**PROBE, head_cuts=cuts)


def test_pooled_features_are_means_over_positions(network: nn.Module, toy_store: Store) -> None:
    from tests_networks import freeze

    found = pooled_cuts(network, toy_store.part("train"), CPU)
    assert list(found) == [1, 2, 3]
    images = next(iter(batches(toy_store.part("train"), 64)))[0]
    expected = freeze(network, 1).features(images).mean((2, 3))
    assert torch.allclose(torch.from_numpy(found[1]), expected, atol=1e-5)


def test_the_choice_ends_at_the_last_cut_and_leaves_the_network_as_it_is(
    network: nn.Module, toy_store: Store
) -> None:
    before = set(network.state_dict())
    found = chosen_cuts(network, recipe(**PROBE), toy_store, CPU)
    assert found.cuts[-1] == len(units(network))
    assert set(found.singles) == {1, 2, 3}
    assert set(network.state_dict()) == before


def test_validation_pictures_take_part_in_the_choice(network: nn.Module, toy_store: Store) -> None:
    assert len(toy_store.part("val")) > 0
    rows = chosen_cuts(network, recipe(**PROBE), toy_store, CPU).rows
    assert list(rows) == list(range(len(toy_store)))


class WithAuxiliaryHead(Small):
    """Has more to say than logits while it trains, so its head cannot read several cuts."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.extra = nn.Linear(8, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        early = torch.relu(self.stem(x))
        logits = self.head(self.blocks(early).mean((2, 3)))
        return (logits, self.extra(early.mean((2, 3)))) if self.training else logits


def test_a_network_with_auxiliary_heads_has_its_choice_stored_too(toy_store: Store, tmp_path: Path) -> None:
    network = WithAuxiliaryHead(2)
    found = chosen_cuts(network, recipe(**PROBE), toy_store, CPU, cache=PrefixCache(tmp_path, CPU))
    assert set(found.singles) == {len(units(network))}


def test_features_of_a_cut_in_between_do_not_stand_in_for_the_pictures(
    network: nn.Module, toy_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # else the code of the taps alone would keep the two apart
    monkeypatch.setattr("thawline.training.features.prefix._own_modules", lambda _: ())
    several, part = read_cuts(network, [1], seed=0), toy_store.part("train")
    expected = features(several, {3}, part, CPU)[3]
    cache = PrefixCache(tmp_path, CPU)
    for depth in (1, 2):
        features(several, {depth}, part, CPU, cache=cache)
    assert np.allclose(features(several, {3}, part, CPU, cache=cache)[3], expected, atol=1e-5)


def test_who_solves_the_chosen_head_needs_no_other_pass(
    network: nn.Module, toy_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, last = PrefixCache(tmp_path, CPU), len(units(network))
    cuts = chosen_cuts(network, recipe(**PROBE), toy_store, CPU, cache=cache).cuts
    chosen = read_cuts(network, cuts, seed=0)
    expected = features(chosen, {last}, toy_store, CPU)[last]

    def pass_over_pictures(*_: object) -> None:
        pytest.fail("the pictures are shown to the network again")

    monkeypatch.setattr("thawline.training.features.prefix.StoredPrefix._computed", pass_over_pictures)
    found = features(chosen, {last}, toy_store.part("train"), CPU, cache=cache)[last]
    assert np.array_equal(found, expected[toy_store.manifest["split"] == "train"])


def test_what_the_network_does_not_compute_is_not_stored(
    network: nn.Module, toy_store: Store, tmp_path: Path
) -> None:
    cache, last = PrefixCache(tmp_path, CPU), len(units(network))
    expected = features(network, {last}, toy_store, CPU)[last]
    for wrong in (expected + 1, expected[:, :-1], expected.astype(np.float64)):
        cache.put(network, last, toy_store, wrong)
    assert np.array_equal(features(network, {last}, toy_store, CPU, cache=cache)[last], expected)
    cache.put(network, last, toy_store, np.zeros_like(expected))
    assert np.array_equal(features(network, {last}, toy_store, CPU, cache=cache)[last], expected)


def test_pictures_and_their_mirror_images_are_compared_once_and_stored(
    network: nn.Module, toy_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def noted(
        pictures: Sequence[np.ndarray], mirrored: Sequence[np.ndarray], *_: object, **__: object
    ) -> bool:
        asked.append((pictures[-1], mirrored[-1]))
        return True

    monkeypatch.setattr("thawline.training.head_cuts.mirror_images_teach", noted)
    several, cache = read_cuts(copy.deepcopy(network), [1], seed=0), PrefixCache(tmp_path, CPU)
    assert mirrored_too(several, toy_store, recipe(**PROBE), CPU, cache=cache)
    [(pictures, mirrored)] = asked
    train = toy_store.part("train")
    flipped = replace(train, images=np.ascontiguousarray(train.images[:, :, ::-1]), origin=None)
    assert np.allclose(pictures, pooled_cuts(network, train, CPU)[3], atol=1e-5)
    assert np.allclose(mirrored, pooled_cuts(network, flipped, CPU)[3], atol=1e-5)
