"""After an epoch, BatchNorm's statistics are those of its pictures, however short the training is."""

from collections.abc import Callable

import pytest
import torch
from tests_trainings import Build, train
from torch import nn

from thawline.config.sections import AugmentationName, BatchNorm
from thawline.data.batches import Batches
from thawline.data.store import Store
from thawline.models.freezing import state_hashes
from thawline.training.batch_norm import EpochStatistics

BATCHES = [torch.randn(size, 3, 4, 4, generator=torch.Generator().manual_seed(size)) for size in (5, 8, 3)]


def after_an_epoch(norm: nn.BatchNorm2d, batches: list[torch.Tensor]) -> nn.BatchNorm2d:
    statistics = EpochStatistics(norm, [len(each) for each in batches])
    for batch in batches:
        norm(batch)
        statistics.take()
    statistics.keep()
    return norm


@pytest.mark.parametrize("momentum", [0.01, 3e-4])
def test_they_are_the_mean_over_an_epoch_in_which_every_picture_counts_alike(momentum: float) -> None:
    norm = after_an_epoch(nn.BatchNorm2d(3, momentum=momentum), BATCHES)
    torch.testing.assert_close(norm.running_mean, torch.cat(BATCHES).mean((0, 2, 3)))
    variances = torch.stack([each.var((0, 2, 3)) * len(each) for each in BATCHES]).sum(0)
    torch.testing.assert_close(norm.running_var, variances / sum(map(len, BATCHES)))
    assert norm.momentum == momentum


def test_they_look_no_further_back_than_the_layer_itself() -> None:
    """A long epoch begins with other weights than it ends with."""
    ours = after_an_epoch(nn.BatchNorm2d(3, momentum=0.6), 3 * BATCHES)
    theirs = nn.BatchNorm2d(3, momentum=1.0)
    for batch in 3 * BATCHES:
        theirs(batch)
        theirs.momentum = 0.6
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var, theirs.running_var)


@pytest.mark.parametrize("momentum", [None, 0.0])
def test_layers_that_average_by_themselves_or_not_at_all_are_left_alone(momentum: float | None) -> None:
    ours, theirs = (nn.BatchNorm2d(3, momentum=momentum) for _ in range(2))
    for batch in BATCHES:
        theirs(batch)
    assert state_hashes(after_an_epoch(ours, BATCHES)) == state_hashes(theirs)


def test_layers_in_evaluation_mode_keep_every_bit() -> None:
    norm = nn.BatchNorm2d(3, momentum=0.01).eval()
    before = state_hashes(norm)
    assert state_hashes(after_an_epoch(norm, BATCHES)) == before


def slow(network: nn.Module) -> nn.Module:
    """Let every layer look a hundred steps back, as MobileNetV3's do."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.01
    return network


def test_a_short_training_ends_with_statistics_of_its_pictures(build_small: Build, toy_store: Store) -> None:
    """At a rate at which the weights hardly move, those of one epoch are those of the final weights."""
    network = slow(build_small(0))
    train(network, toy_store, epochs=1, body_lr=1e-7, head_lr=1e-7)
    part = toy_store.part("train")
    images = next(iter(Batches(part.images, part.labels, part.transform, 99, shuffle=False)))[0]
    seen = network.stem[0](images).mean((0, 2, 3))
    torch.testing.assert_close(network.stem[1].running_mean, seen, atol=1e-4, rtol=0)
    assert network.stem[1].momentum == 0.01


def test_every_epoch_is_validated_with_the_statistics_that_are_kept(
    build_small: Build, toy_store: Store
) -> None:
    network = slow(build_small(0))
    seen: list[tuple[float, str]] = []
    fitted = train(network, toy_store, epochs=2, after=lambda _: seen.append(state_hashes(network)))  # type: ignore[func-returns-value,arg-type]
    assert seen[-1] == state_hashes(network)
    assert len(fitted.history) == 2


@pytest.mark.parametrize("changes", [{"depth": 1}, {"batch_norm": BatchNorm.affine}])
def test_frozen_statistics_stay_frozen(
    changes: dict, build_small: Callable[[int], nn.Module], toy_store: Store
) -> None:
    network = slow(build_small(0))
    before = state_hashes(network)
    train(network, toy_store, augmentation=AugmentationName.none, **changes)
    after = state_hashes(network)
    frozen = [name for name in before if "running" in name or "tracked" in name]
    if changes == {"depth": 1}:
        assert before["blocks.0.norm.running_mean"] != after["blocks.0.norm.running_mean"]
        frozen = [name for name in frozen if name.startswith("stem")]
    assert frozen
    assert all(before[name] == after[name] for name in frozen)
