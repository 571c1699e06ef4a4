"""A head is linear where its logits are affine in the features at the last cut, and in nothing else."""

import pytest
import torch
from tests_networks import Small, freeze
from torch import nn

from thawline.config.choices import HeadVariant
from thawline.models.cuts import units
from thawline.models.head import replace_head
from thawline.models.linear_head import linear_head


def test_the_layer_makes_the_networks_logits_of_the_features_at_the_last_cut(
    network: nn.Module, pictures: torch.Tensor
) -> None:
    layer = linear_head(network)
    if layer is None:
        assert type(network).__name__ == "SqueezeNet"  # a convolution, then an activation
        return
    held = freeze(network.eval(), len(units(network))).eval()
    assert torch.allclose(layer(held.features(pictures).flatten(1)), network(pictures))


@pytest.mark.parametrize(("variant", "linear"), [("linear", True), ("dropout_linear", True), ("mlp", False)])
def test_dropout_leaves_a_head_linear_and_a_hidden_layer_does_not(variant: str, linear: bool) -> None:
    network, _ = replace_head(Small(3), 4, 0, HeadVariant[variant])
    layer = linear_head(network)
    assert (layer is not None) == linear
    assert layer is None or layer.out_features == 4


class Squashed(Small):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).tanh()


def test_a_head_that_something_follows_is_not_linear() -> None:
    assert linear_head(Squashed(3)) is None
