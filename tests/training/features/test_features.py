"""Features of pictures at some depths, stored or not, are those that the network computes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests_networks import freeze
from tests_trainings import CPU, Build
from torch import nn

from thawline.config.sections import Trainer
from thawline.data.store import Store
from thawline.training.batches import batches
from thawline.training.features.cache import PrefixCache, features

NEVER = replace(CPU, prefix_cache=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "prefix"


def stored(folder: Path) -> int:
    return len(list(folder.glob("*/card.json")))


def split_at(network: nn.Module, depth: int, store: Store) -> torch.Tensor:
    pictures, _, _ = next(iter(batches(store, len(store))))
    with torch.no_grad():
        return freeze(network, depth).prefix.eval()(pictures)


@pytest.mark.parametrize("settings", [CPU, NEVER], ids=["stored", "in memory"])
def test_features_of_several_depths_are_those_of_every_picture_in_order(
    settings: Trainer, build_small: Build, toy_store: Store, folder: Path
) -> None:
    found = features(build_small(0), [3, 1], toy_store, settings, cache=PrefixCache(folder, settings))
    assert stored(folder) == (2 if settings is CPU else 0)
    assert found.keys() == {1, 3}
    for depth, array in found.items():
        assert array.dtype == np.float32
        expected = split_at(build_small(0), depth, toy_store)
        torch.testing.assert_close(torch.from_numpy(array), expected, atol=1e-5, rtol=1e-4)


def test_features_of_a_part_come_from_those_of_the_whole(
    build_small: Build, toy_store: Store, folder: Path
) -> None:
    cache = PrefixCache(folder, CPU)
    whole = features(build_small(0), [2], toy_store, CPU, cache=cache)[2]
    rows = np.arange(len(toy_store))
    part = toy_store.divided(rows[::2], rows[1::2]).part("val")
    np.testing.assert_array_equal(features(build_small(0), [2], part, CPU, cache=cache)[2], whole[1::2])
    assert stored(folder) == 1


def test_features_are_kept_in_memory_where_there_is_no_room(
    build_small: Build, toy_store: Store, folder: Path
) -> None:
    full = replace(CPU, prefix_cache_gib=1e-6)
    found = features(build_small(0), [2], toy_store, full, cache=PrefixCache(folder, full))
    assert len(found[2]) == len(toy_store)
    assert stored(folder) == 0
