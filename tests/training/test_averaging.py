"""Weights that are averaged: over time, with the source model, over several trainings."""

import math
from pathlib import Path

import pytest
import torch
from tests_trainings import CPU, Build, comparable, recipe, train
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from thawline.config.sections import BatchNorm
from thawline.data.batches import Batches
from thawline.data.store import Store
from thawline.models.freezing import state_hashes
from thawline.training.history import Row
from thawline.training.run import Training
from thawline.training.soup import finetune_soup, member_seed


@pytest.mark.parametrize("changes", [{"ema": 0.7}, {"wise_ft": 0.25}], ids=str)
def test_averaging_leaves_what_is_frozen_bit_for_bit(
    changes: dict, build_small: Build, toy_store: Store
) -> None:
    """The average of -0.0 and -0.0 is 0.0."""
    network = build_small(0)
    for name in ("stem.0.weight", "stem.0.bias", "stem.1.bias", "stem.1.running_mean"):
        network.state_dict()[name].mul_(0).neg_()
    before = state_hashes(network)
    train(network, toy_store, depth=1, **changes)
    after = state_hashes(network)
    assert not {name for name in before if name.startswith("stem") and before[name] != after[name]}
    assert before["blocks.0.conv.weight"] != after["blocks.0.conv.weight"]


def score(network: nn.Module, store: Store) -> tuple[float, object]:
    """Validation accuracy and loss, to compare with a history's."""
    loss, accuracy = Training(network, recipe(), store, CPU, seed=0, mirror=False).score()
    return accuracy, pytest.approx(loss, abs=1e-6)


def test_the_moving_average_is_what_is_kept_and_validated(build_small: Build, toy_store: Store) -> None:
    network, steps = build_small(0), []

    def remember(*_: object) -> None:
        steps.append(network.get_parameter("head.weight").detach().clone())

    hook = register_optimizer_step_post_hook(remember)
    fitted = train(network, toy_store, ema=0.8, depth=1)
    hook.remove()
    expected = steps[0]
    for step in steps[1:]:
        expected = 0.8 * expected + 0.2 * step
    torch.testing.assert_close(network.get_parameter("head.weight"), expected)
    assert (fitted.row["val_accuracy"], fitted.row["val_loss"]) == score(network, toy_store)


def test_half_the_way_back_to_the_source(build_small: Build, toy_store: Store) -> None:
    start, end, network = build_small(0), build_small(0), build_small(0)
    train(end, toy_store, depth=1)
    fitted = train(network, toy_store, depth=1, wise_ft=0.5)
    before, after = start.state_dict(), end.state_dict()
    for name, tensor in network.named_parameters():
        expected = after[name] if name.startswith("head") else (before[name] + after[name]) / 2
        torch.testing.assert_close(tensor, expected, atol=1e-6, rtol=0, msg=name)
    frozen = {name: value for name, value in state_hashes(start).items() if name.startswith("stem")}
    assert frozen.items() <= state_hashes(network).items()
    assert [row["epoch"] for row in fitted.history] == [0, 1, 2]
    assert math.isnan(fitted.row["train_loss"])
    assert fitted.curve == fitted.history
    assert (fitted.row["val_accuracy"], fitted.row["val_loss"]) == score(network, toy_store)


def test_averaged_weights_get_statistics_of_their_own(build_small: Build, toy_store: Store) -> None:
    network = build_small(0)
    train(network, toy_store, wise_ft=0.5)
    part = toy_store.part("train")
    images = next(iter(Batches(part.images, part.labels, part.transform, 99, shuffle=False)))[0]
    seen = network.stem[0](images).mean((0, 2, 3))
    torch.testing.assert_close(network.stem[1].running_mean, seen)


def test_held_statistics_stay_when_weights_are_averaged(build_small: Build, toy_store: Store) -> None:
    start, network = build_small(0), build_small(0)
    train(network, toy_store, wise_ft=0.5, batch_norm=BatchNorm.affine)
    for name, tensor in start.named_buffers():
        assert torch.equal(tensor, network.get_buffer(name))


def test_a_soup_is_the_average_of_the_trainings_in_it(build_small: Build, toy_store: Store) -> None:
    network, singles = build_small(0), []
    fitted = train(network, toy_store, function=finetune_soup, soup=2, depth=1)
    for member in range(2):
        single = build_small(0)
        Training(single, recipe(depth=1), toy_store, CPU, seed=member_seed(0, member), mirror=False).run()
        singles.append(dict(single.named_parameters()))
    assert fitted.soup is not None
    for name, tensor in network.named_parameters():
        expected = torch.stack([singles[index][name] for index in fitted.soup]).mean(0)
        torch.testing.assert_close(tensor, expected, atol=1e-6, rtol=0)
    assert not torch.equal(singles[0]["head.weight"], singles[1]["head.weight"])
    assert torch.equal(singles[0]["stem.0.weight"], network.get_parameter("stem.0.weight"))
    assert len(fitted.history) == 2 + (len(fitted.soup) > 1)
    assert (fitted.row["val_accuracy"], fitted.row["val_loss"]) == score(network, toy_store)


@pytest.mark.slow
def test_a_killed_soup_goes_on_bit_for_bit(build_small: Build, toy_store: Store, tmp_path: Path) -> None:
    undisturbed, again = build_small(0), build_small(0)
    changes = {"function": finetune_soup, "soup": 2, "epochs": 2}
    expected = train(undisturbed, toy_store, **changes)
    calls = iter(range(99))

    def die_in_the_second(row: Row) -> None:
        if next(calls) == 2:
            raise SystemError("killed")

    with pytest.raises(SystemError):
        train(build_small(0), toy_store, checkpoint=tmp_path, after=die_in_the_second, **changes)
    resumed = train(again, toy_store, checkpoint=tmp_path, **changes)
    assert state_hashes(again) == state_hashes(undisturbed)
    assert comparable(resumed) == comparable(expected)
