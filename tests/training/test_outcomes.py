"""What a network says of each picture is what validation makes its means of."""

from collections.abc import Callable

import numpy as np
import pytest
from torch import nn

from thawline.config.sections import Finetune, Trainer
from thawline.data.store import Store
from thawline.training.fit import batches
from thawline.training.outcomes import outcomes
from thawline.training.run import finetune_once

TRAINER = Trainer(accelerator="cpu", threads=1)


def test_the_means_are_what_validation_measures(
    build_small: Callable[[int], nn.Module], toy_store: Store
) -> None:
    network, recipe = build_small(0), Finetune(epochs=2, batch_size=8, head_lr=1e-2)
    fitted = finetune_once(network, recipe, toy_store, TRAINER, seed=0, mirror=False)
    correct, losses = outcomes(network, batches(toy_store.part("val"), 256), TRAINER)
    assert correct.mean() == pytest.approx(fitted.row["val_accuracy"])
    assert losses.mean() == pytest.approx(fitted.row["val_loss"], rel=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_left_as_it_was(
    training: bool, build_small: Callable[[int], nn.Module], toy_store: Store
) -> None:
    network = build_small(0).train(training)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    outcomes(network, batches(toy_store.part("val"), 256), TRAINER)
    assert network.training is training
    assert all((value == before[name]).all() for name, value in network.state_dict().items())


def test_pictures_keep_their_order_whatever_the_batch(
    build_small: Callable[[int], nn.Module], toy_store: Store
) -> None:
    network, part = build_small(0), toy_store.part("val")
    found = (outcomes(network, batches(part, size), TRAINER) for size in (256, 3))
    for whole, parts in zip(*found, strict=True):
        np.testing.assert_allclose(whole, parts, rtol=1e-5)
