"""One fine-tuning whose batches are computed in parts, for want of memory: the steps stay the same."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests_trainings import CPU, Build, recipe
from torch import nn

from thawline.config.errors import UserError
from thawline.config.sections import ClassWeights, OptimizerName, Trainer
from thawline.data.store import Store
from thawline.models.zoo import build
from thawline.training.classifier import Classifier
from thawline.training.history import Fitted
from thawline.training.parts import GIBIBYTE, MARGIN, PROCESS, kept_bytes, parts_that_fit
from thawline.training.run import Training
from thawline.training.soup import finetune_soup


def in_parts(network: nn.Module, store: Store, accumulate: int, **changes: object) -> Fitted:
    training = Training(network, recipe(**changes), store, CPU, seed=0, mirror=False, accumulate=accumulate)
    return training.run()


@pytest.mark.parametrize(("batch_size", "mode"), [(5, "balanced"), (6, "plain")])
def test_a_batch_in_parts_makes_the_step_of_the_whole(batch_size: int, mode: str, toy_store: Store) -> None:
    """Of 16 pictures: the last batch is smaller, or larger by one; with `balanced`, their weights differ."""
    toy_store.manifest.loc[:5, "label"] = "across"
    weights = ClassWeights.balanced if mode == "balanced" else ClassWeights.none
    changes = {"batch_size": batch_size, "class_weights": weights, "optimizer": OptimizerName.sgd}
    networks = [build("tests_networks.Plain", 2, seed=0) for _ in range(2)]
    one, parts = (
        in_parts(network, toy_store, accumulate, l2_sp=0.1, **changes)
        for network, accumulate in zip(networks, (1, 8), strict=True)
    )
    np.testing.assert_allclose(
        [row["train_loss"] for row in parts.history], [row["train_loss"] for row in one.history], rtol=1e-5
    )
    for name, tensor in networks[0].state_dict().items():
        torch.testing.assert_close(networks[1].state_dict()[name], tensor, rtol=1e-4, atol=1e-5)


def test_what_a_step_keeps_is_counted_tensor_by_tensor() -> None:
    """A convolution keeps what it is given, a ReLU what it returns, a linear layer what it is given; what
    is frozen keeps nothing."""
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 14 * 14, 2))
    pictures, maps = 4 * 3 * 16 * 16, 4 * 8 * 14 * 14
    assert kept_bytes(network, (3, 16, 16)) == (pictures + maps, maps)
    network[0].requires_grad_(False)
    assert kept_bytes(network, (3, 16, 16)) == (maps, maps)


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    return build("resnet18", 2, seed=0)


def room_for(pictures: int, network: nn.Module) -> Trainer:
    """Settings that allow so many pictures of 64 px at a time, and hardly more."""
    kept, largest = kept_bytes(network, (3, 64, 64))
    at_rest = 4 * sum(parameter.nbytes for parameter in network.parameters())
    needed = at_rest + MARGIN * (kept + 2 * largest) * (pictures + 0.5)
    return replace(CPU, memory_gib=PROCESS + needed / GIBIBYTE)


@pytest.mark.parametrize(("pictures", "parts"), [(32, 1), (31, 2), (11, 3), (2, 16)])
def test_batches_come_in_as_few_parts_as_fit(pictures: int, parts: int, resnet: nn.Module) -> None:
    assert parts_that_fit(resnet, (3, 64, 64), 32, room_for(pictures, resnet)) == parts


def test_without_a_limit_batches_come_whole(resnet: nn.Module) -> None:
    assert parts_that_fit(resnet, (3, 64, 64), 32, CPU) == 1


def test_too_little_memory_for_the_smallest_parts_is_said(resnet: nn.Module) -> None:
    wanted = r"(?s)trainer\.memory_gib = 0\.5, but 2 pictures at a time.*need about 1\.\d.*raise it"
    with pytest.raises(UserError, match=wanted):
        parts_that_fit(resnet, (3, 64, 64), 32, replace(CPU, memory_gib=0.5))


def test_a_training_within_its_memory_makes_the_same_steps(
    toy_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thawline.training.run.parts_that_fit", lambda *_: 3)
    found = []
    for settings in (CPU, replace(CPU, memory_gib=1.5)):
        network = build("tests_networks.Plain", 2, seed=0)
        training = Training(
            network,
            recipe(batch_size=8, optimizer=OptimizerName.sgd),
            toy_store,
            settings,
            seed=0,
            mirror=False,
        )
        found.append(([row["train_loss"] for row in training.run().history], training.accumulate))
    (whole, _), (parts, accumulate) = found
    assert accumulate == 3
    np.testing.assert_allclose(parts, whole, rtol=1e-5)


def test_validation_needs_no_more_memory_than_learning(build_small: Build, toy_store: Store) -> None:
    training = Training(build_small(0), recipe(batch_size=6), toy_store, CPU, seed=0, mirror=False)
    assert training.pictures.validation_batch == 6


def test_parts_of_a_batch_draw_random_numbers_of_their_own(
    build_small: Build, toy_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds: dict[int, list[int]] = {1: [], 2: []}
    step = Classifier.batch_loss

    def noted(self: Classifier, *given: Any) -> torch.Tensor:
        seeds[accumulate].append(torch.initial_seed())
        return step(self, *given)

    monkeypatch.setattr(Classifier, "batch_loss", noted)
    for accumulate in (1, 2):
        in_parts(build_small(0), toy_store, accumulate)
    assert len(set(seeds[2])) == len(seeds[2]) == 2 * len(seeds[1])
    assert seeds[2][::2] == seeds[1]


def test_a_checkpoint_of_a_training_in_other_parts_is_refused(
    build_small: Build, toy_store: Store, tmp_path: Path
) -> None:
    finetune_soup(build_small(0), recipe(), toy_store, CPU, seed=0, mirror=False, checkpoint=tmp_path)
    with pytest.raises(UserError, match="accumulate: 1 in the checkpoint, 2 now"):
        finetune_soup(
            *(build_small(0), recipe(), toy_store, CPU),
            seed=0,
            mirror=False,
            checkpoint=tmp_path,
            accumulate=2,
        )


def test_statistics_are_measured_anew_with_no_picture_alone(build_small: Build, toy_store: Store) -> None:
    """16 pictures, 3 at a time: one would be left."""
    settings = recipe(batch_size=6)
    training = Training(build_small(0), settings, toy_store, CPU, seed=0, mirror=False, accumulate=2)
    assert training.pictures.validation_batch == 3
    assert {len(images) for images in training.pictures.plain()} == {2, 3}
