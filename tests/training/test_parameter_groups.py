"""Who learns at which rate: groups against timm's."""

from collections.abc import Callable

import numpy as np
import pytest
import timm.optim
import torch
from tests_networks import freeze
from torch import nn

from thawline.config.sections import Finetune, Start
from thawline.models.cuts import units
from thawline.models.zoo import build
from thawline.training.parameter_groups import balanced_weights, learning_groups

Build = Callable[[int], nn.Module]


def recipe(**changes: object) -> Finetune:
    return Finetune(**{"body_lr": 1e-2, "head_lr": 5e-2, "weight_decay": 0.1, **changes})  # type: ignore[arg-type]


def rates(network: nn.Module, settings: Finetune) -> dict[str, tuple[float, float]]:
    """Learning rate and weight decay of every parameter that learns, by its name."""
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    found = learning_groups(network, settings)
    assert len({group.name for group in found}) == len(found)
    listed = [(names[id(each)], group) for group in found for each in group.parameters]
    assert len(listed) == len(dict(listed))
    return {name: (group.learning_rate, group.weight_decay) for name, group in listed}


def test_each_unit_learns_slower_than_the_next(build_small: Build) -> None:
    found = rates(build_small(0), recipe(layer_decay=0.5))
    assert found["head.weight"] == (5e-2, 0.1)
    assert found["blocks.1.conv.weight"] == (1e-2, 0.1)
    assert found["blocks.0.conv.weight"] == (5e-3, 0.1)
    assert found["stem.0.weight"] == (2.5e-3, 0.1)
    assert found["stem.1.weight"] == (2.5e-3, 0.0)


def test_layer_decay_is_counted_from_the_head_whatever_is_frozen(build_small: Build) -> None:
    network = build_small(0)
    whole = rates(network, recipe(layer_decay=0.5))
    freeze(network, 1)
    partly = rates(network, recipe(layer_decay=0.5))
    assert partly == {name: rate for name, rate in whole.items() if not name.startswith("stem")}


class Bypass(nn.Module):
    """What comes out of `stem` is needed until after the head, so nothing behind it can be cut off."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.left, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        return self.head(self.left(x)) + x.mean(1, keepdim=True)


def test_weights_of_no_unit_learn_at_the_bodys_rate() -> None:
    network = Bypass()
    assert [unit.name for unit in units(network)] == ["stem"]
    found = rates(network, recipe(layer_decay=0.5))
    assert found["left.weight"] == found["stem.weight"] == (1e-2, 0.1)


def test_layer_decay_is_timms() -> None:
    base, decay = 1e-3, 0.7
    network = build("timm:resnet18", 10, seed=0)
    theirs = timm.optim.param_groups_layer_decay(network, weight_decay=0.1, layer_decay=decay)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    expected = {
        names[id(each)]: (base * group["lr_scale"], group["weight_decay"])
        for group in theirs
        for each in group["params"]
    }
    # timm counts the head as one more layer: the last unit is one step below it
    ours = rates(network, recipe(head_lr=base, body_lr=base * decay, layer_decay=decay))
    assert ours.keys() == expected.keys()
    for name, rate in ours.items():
        assert rate == pytest.approx(expected[name], abs=1e-6 * base)


def test_decay_all_spares_nothing(build_small: Build) -> None:
    assert {decay for _, decay in rates(build_small(0), recipe(decay_all=True)).values()} == {0.1}


def test_what_is_pulled_to_the_source_does_not_decay_but_the_head_does(build_small: Build) -> None:
    found = rates(build_small(0), recipe(l2_sp=0.1))
    assert found["head.weight"] == (5e-2, 0.1)
    assert {decay for name, (_, decay) in found.items() if not name.startswith("head")} == {0.0}


def test_tied_weights_are_in_one_group() -> None:
    network = build("tests_networks.Small", 2, seed=0)
    network.blocks[1].conv.weight = network.blocks[0].conv.weight
    found = rates(network, recipe(layer_decay=0.5))
    assert sum("conv.weight" in name for name in found) == 1
    assert torch.isfinite(torch.tensor([rate for rate, _ in found.values()])).all()


def test_balanced_weights_of_targets_count_what_pictures_weigh() -> None:
    labels = np.array([0, 0, 0, 1])
    torch.testing.assert_close(balanced_weights(np.eye(2)[labels], 2), balanced_weights(labels, 2))
    targets = np.array([[2.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
    torch.testing.assert_close(balanced_weights(targets, 2), torch.tensor([4 / 5, 4 / 3]))


def test_what_starts_random_learns_at_the_heads_rate(build_small: Build) -> None:
    network = build_small(0)
    named = {group.name: group for group in learning_groups(network, recipe())}
    assert {name.partition(".")[0] for name in named} == {"head", "body"}
    assert named["head.decayed"].parameters == (network.get_parameter("head.weight"),)
    assert named["head.decayed"].learning_rate == 5e-2
    assert named["body.decayed"].learning_rate == 1e-2


def test_from_scratch_has_one_rate_for_everything(build_small: Build) -> None:
    network = build_small(0)
    found = learning_groups(network, recipe(start=Start.random, body_lr=None))
    assert {group.learning_rate for group in found} == {5e-2}
    assert sum(len(group.parameters) for group in found) == len(list(network.parameters()))


def test_class_weights_are_inverse_shares() -> None:
    weights = balanced_weights(np.array([0, 0, 0, 1]), 2)
    assert weights.tolist() == pytest.approx([4 / 6, 2.0])
