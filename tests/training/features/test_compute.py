"""A frozen part computes the same, but for rounding, when it is rearranged to be fast."""

import pytest
import torch
from tests_networks import freeze, with_statistics
from torch import nn

from thawline.models.cuts import units
from thawline.models.freezing import state_hashes
from thawline.models.zoo import build
from thawline.training.features.compute import quick


@pytest.mark.parametrize(
    "architecture",
    [
        "mobilenet_v3_small",
        # convolutions with a bias before BatchNorm
        "tests_networks.Small",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("resnet18", "densenet121", "convnext_tiny")
        ),
    ],
)
def test_a_rearranged_prefix_gives_the_same_features(architecture: str) -> None:
    network = with_statistics(build(architecture, 2, seed=0))
    before = state_hashes(network)
    held = freeze(network, len(units(network)) - 1)
    pictures = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        expected, found = held.prefix.eval()(pictures), quick(held.prefix)(pictures)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    assert state_hashes(network) == before


def test_batch_normalisation_is_folded_but_in_low_precision() -> None:
    held = freeze(build("resnet18", 2, seed=0), 5)

    def normalised(side: nn.Module) -> bool:
        return any(isinstance(each, nn.BatchNorm2d) for each in side.modules())

    assert not normalised(quick(held.prefix))
    assert normalised(quick(held.prefix, fold=False))
    assert normalised(held.prefix)
