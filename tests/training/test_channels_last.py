"""A network trains with its channels last, and nobody notices."""

from pathlib import Path

import pytest
import torch
from tests_trainings import comparable, die_after, train
from torch import nn
from torchvision.models.regnet import BlockParams, RegNet

from thawline.config.sections import BatchNorm, OptimizerName
from thawline.data.store import Store
from thawline.models.freezing import state_hashes

# normalising a few pictures' single position, and AdamW, would make full steps of rounding
STEADY: dict[str, object] = {
    "optimizer": OptimizerName.sgd,
    "batch_norm": BatchNorm.frozen,
    "body_lr": 1e-3,
    "head_lr": 1e-3,
}


KERNEL = "trunk_output.block2.block2-0.f.b.0.weight"


def regnet() -> nn.Module:
    """A network of torchvision's, with kernels of one place and of nine, and two blocks."""
    torch.manual_seed(0)
    blocks = BlockParams([1, 1], [8, 16], [8, 8], [1.0, 1.0], [2, 2])
    return RegNet(blocks, num_classes=2, stem_width=8)


def test_the_losses_are_those_of_the_usual_layout(toy_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    network = regnet()
    found = train(network, toy_store, **STEADY)
    assert network.get_parameter(KERNEL).is_contiguous()
    monkeypatch.setattr("thawline.models.layout._KNOWN", ("no such library",))
    plain = train(regnet(), toy_store, **STEADY)
    for ours, theirs in zip(found.history, plain.history, strict=True):
        assert ours["train_loss"] == pytest.approx(theirs["train_loss"], abs=1e-5)


def test_kernels_lie_so_while_it_trains(toy_store: Store) -> None:
    network, seen = regnet(), []

    def look(_: object) -> None:
        kernel = network.get_parameter(KERNEL)
        seen.append(kernel.is_contiguous(memory_format=torch.channels_last))

    train(network, toy_store, after=look, epochs=1, depth=2)
    assert seen == [True]


def test_a_killed_training_goes_on_bit_for_bit(toy_store: Store, tmp_path: Path) -> None:
    undisturbed, again = regnet(), regnet()
    changes = {"ema": 0.9, "depth": 2}
    expected = train(undisturbed, toy_store, **changes)
    with pytest.raises(SystemError, match="killed"):
        train(regnet(), toy_store, checkpoint=tmp_path, after=die_after(0), **changes)
    resumed = train(again, toy_store, checkpoint=tmp_path, **changes)
    assert comparable(resumed) == comparable(expected)
    assert state_hashes(again) == state_hashes(undisturbed)
