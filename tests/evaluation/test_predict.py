"""Predictions: deterministic, in eval mode, whatever the batch size."""

import numpy as np
import pytest
import torch
from torch import nn

from thawline.config.errors import UserError
from thawline.config.sections import Trainer
from thawline.data.transform import Transform
from thawline.evaluation.predict import predict, prepare_device

TRANSFORM = Transform(4, 4, 3, "crop", "bilinear", (0.5,) * 3, (0.25,) * 3)


@pytest.fixture
def pictures() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (11, 4, 4, 3), dtype=np.uint8)


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(0.5), nn.Flatten(), nn.Linear(48, 5))


def test_rows_are_probabilities_in_the_order_of_the_pictures(
    network: nn.Module, pictures: np.ndarray
) -> None:
    found = predict(network, pictures, TRANSFORM, 4, "cpu")
    assert found.dtype == np.float64
    np.testing.assert_allclose(found.sum(1), 1)
    normalised = (pictures.transpose(0, 3, 1, 2) / 255 - 0.5) / 0.25
    with torch.no_grad():
        expected = network.eval()(torch.tensor(normalised, dtype=torch.float32)).softmax(1)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-6)


def test_the_batch_size_does_not_matter(network: nn.Module, pictures: np.ndarray) -> None:
    # In training mode both dropout and batch normalisation would make it matter.
    whole = predict(network, pictures, TRANSFORM, 100, "cpu")
    np.testing.assert_allclose(predict(network, pictures, TRANSFORM, 3, "cpu"), whole, atol=1e-7)


def test_the_network_stays_as_it_was(network: nn.Module, pictures: np.ndarray) -> None:
    network.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    predict(network, pictures, TRANSFORM, 4, "cpu")
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_an_output_that_is_no_number_is_an_error(network: nn.Module, pictures: np.ndarray) -> None:
    nn.init.constant_(network[3].bias, float("nan"))  # type: ignore[index]
    with pytest.raises(UserError, match="not a number for 11 of 11 pictures.*\n.*lower learning rates"):
        predict(network, pictures, TRANSFORM, 4, "cpu")


def test_a_missing_gpu_is_an_error_only_where_one_is_demanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: None)  # noqa: ARG005
    assert prepare_device(Trainer(accelerator="auto", threads=1)) == torch.device("cpu")
    with pytest.raises(UserError, match=r"trainer.accelerator = gpu, but there is none"):
        prepare_device(Trainer(accelerator="gpu", threads=1))
