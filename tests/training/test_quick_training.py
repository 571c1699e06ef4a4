"""A network of many channels trains in another layout and with other convolutions, and nobody notices."""

from pathlib import Path

import pytest
import torch
from tests_trainings import comparable, die_after, train
from torch import nn

from thawline.config.sections import BatchNorm, OptimizerName
from thawline.data.store import Store
from thawline.models import convolution
from thawline.models.freezing import state_hashes
from thawline.models.zoo import build

# normalising a few pictures' single position, and AdamW, would make full steps of rounding
STEADY: dict[str, object] = {
    "optimizer": OptimizerName.sgd,
    "batch_norm": BatchNorm.frozen,
    "body_lr": 1e-3,
    "head_lr": 1e-3,
}


@pytest.fixture(autouse=True)
def avx2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")


def resnet() -> nn.Module:
    return build("resnet18", 2, seed=0)


def test_the_losses_are_those_of_a_plain_training(toy_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    products = convolution.kernel_gradient

    def counting(*given: object) -> torch.Tensor:
        calls.append(1)
        return products(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(convolution, "kernel_gradient", counting)
    quick = train(resnet(), toy_store, **STEADY)
    assert calls
    calls.clear()
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    plain = train(resnet(), toy_store, **STEADY)
    assert not calls
    for ours, theirs in zip(quick.history, plain.history, strict=True):
        assert ours["train_loss"] == pytest.approx(theirs["train_loss"], abs=1e-5)


@pytest.mark.parametrize("changes", [{}, {"ema": 0.9}, {"depth": 8}])
def test_a_killed_training_goes_on_bit_for_bit(
    toy_store: Store, tmp_path: Path, changes: dict[str, object]
) -> None:
    undisturbed, again = resnet(), resnet()
    expected = train(undisturbed, toy_store, **changes)
    with pytest.raises(SystemError, match="killed"):
        train(resnet(), toy_store, checkpoint=tmp_path, after=die_after(0), **changes)
    resumed = train(again, toy_store, checkpoint=tmp_path, **changes)
    assert comparable(resumed) == comparable(expected)
    assert state_hashes(again) == state_hashes(undisturbed)


def test_afterwards_the_network_is_as_it_was(toy_store: Store) -> None:
    network = resnet()
    train(network, toy_store, epochs=1)
    assert network.get_parameter("layer4.1.conv2.weight").is_contiguous()
    assert not any("_conv_forward" in vars(layer) for layer in network.modules())
