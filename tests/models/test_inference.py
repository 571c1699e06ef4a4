"""Answers of a network: deterministic, in evaluation mode, whatever the batch size."""

import numpy as np
import pytest
import torch
from tests_networks import freeze
from torch import nn

from thawline.config.errors import UserError
from thawline.data.batches import Batches
from thawline.data.transform import Transform
from thawline.models.inference import logits, probabilities, worth
from thawline.models.zoo import build

TRANSFORM = Transform(4, 4, 3, "crop", "bilinear", (0.5,) * 3, (0.25,) * 3)
PICTURES = np.random.default_rng(0).integers(0, 256, (11, 4, 4, 3), dtype=np.uint8)
LABELS = np.arange(11) % 5


def batches(size: int) -> Batches:
    return Batches(PICTURES, LABELS, TRANSFORM, size, shuffle=False)


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(0.5), nn.Flatten(), nn.Linear(48, 5))


def test_rows_are_probabilities_in_the_order_of_the_pictures(network: nn.Module) -> None:
    found = probabilities(network, batches(4), "cpu")
    assert found.dtype == np.float64
    np.testing.assert_allclose(found.sum(1), 1)
    normalised = (PICTURES.transpose(0, 3, 1, 2) / 255 - 0.5) / 0.25
    with torch.no_grad():
        expected = network.eval()(torch.tensor(normalised, dtype=torch.float32)).softmax(1)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-6)


def test_the_batch_size_does_not_matter(network: nn.Module) -> None:
    # In training mode both dropout and batch normalisation would make it matter.
    whole = probabilities(network, batches(100), "cpu")
    np.testing.assert_allclose(probabilities(network, batches(3), "cpu"), whole, atol=1e-7)


@pytest.mark.parametrize("training", [True, False])
def test_the_network_stays_as_it_was(training: bool, network: nn.Module) -> None:
    network.train(training)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    logits(network, batches(4), "cpu")
    assert network.training is training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_an_output_that_is_no_number_is_an_error(network: nn.Module) -> None:
    nn.init.constant_(network[3].bias, float("nan"))  # type: ignore[index]
    with pytest.raises(UserError, match="not a number for 11 of 11 pictures.*\n.*lower learning rates"):
        probabilities(network, batches(4), "cpu")


def test_outcomes_say_which_pictures_are_right_and_at_what_loss(network: nn.Module) -> None:
    correct, losses = worth(*logits(network, batches(4), "cpu"))
    found = probabilities(network, batches(4), "cpu")
    np.testing.assert_array_equal(correct, found.argmax(1) == LABELS)
    np.testing.assert_allclose(losses, -np.log(found[np.arange(11), LABELS]), rtol=1e-5)


def test_a_process_is_told_of_the_pictures_of_its_share_that_count(network: nn.Module) -> None:
    """Of 11 pictures in batches of 5 the last batch has none for the second process."""
    whole, labels = logits(network, batches(5), "cpu")
    parts = [logits(network, batches(5).shared(rank, 2), "cpu") for rank in range(2)]
    assert sorted(torch.cat([each[1] for each in parts]).tolist()) == sorted(labels.tolist())
    assert sum(len(each[0]) for each in parts) == len(whole)


def test_no_pictures_have_no_outcomes(network: nn.Module) -> None:
    none = Batches(PICTURES[:0], LABELS[:0], TRANSFORM, 4, shuffle=False)
    correct, losses = worth(*logits(network, none, "cpu"))
    assert (correct.shape, losses.shape) == ((0,), (0,))


def test_a_partly_frozen_network_may_be_asked_about_features() -> None:
    torch.manual_seed(0)
    held = freeze(build("tests_networks.Small", 5, seed=0), 2)
    expected = logits(held, batches(11), "cpu")[0]
    stored = held.features(next(iter(batches(11)))[0])
    given = batches(4).given([lambda rows, device: stored[torch.from_numpy(rows)].to(device)])
    torch.testing.assert_close(logits(held, given, "cpu", from_features=True)[0], expected)
