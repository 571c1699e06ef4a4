"""One fine-tuning whose batches are computed in parts, for want of memory: the steps stay the same."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from thawline.config.errors import UserError
from thawline.config.sections import ClassWeights, Finetune, OptimizerName, Trainer
from thawline.data.store import Store
from thawline.models.zoo import build
from thawline.training.classifier import Classifier
from thawline.training.history import Fitted
from thawline.training.run import Training
from thawline.training.soup import finetune_soup

Build = Callable[[int], nn.Module]
CPU = Trainer(accelerator="cpu", threads=1)


def recipe(**changes: object) -> Finetune:
    values = {"epochs": 2, "batch_size": 4, "body_lr": 1e-2, "head_lr": 5e-2}
    return Finetune(**{**values, **changes})  # type: ignore[arg-type]


def in_parts(network: nn.Module, store: Store, accumulate: int, **changes: object) -> Fitted:
    training = Training(network, recipe(**changes), store, CPU, seed=0, mirror=False, accumulate=accumulate)
    return training.run()


@pytest.mark.parametrize(("batch_size", "mode"), [(5, "balanced"), (6, "plain"), (12, "balanced")])
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
