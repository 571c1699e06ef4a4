"""A frozen part computes the same, but for rounding, when it is rearranged to be fast."""

import pytest
import torch
from tests_networks import freeze
from torch import nn

from thawline.models.cuts import units
from thawline.models.freezing import state_hashes
from thawline.models.zoo import build
from thawline.training.features.compute import quick


def with_statistics(network: nn.Module) -> nn.Module:
    """Statistics and scales as training leaves them, not the 0 and 1 that hide mistakes."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    return network


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


def test_batch_normalisation_becomes_part_of_the_convolution_before_it() -> None:
    held = freeze(build("resnet18", 2, seed=0), 5)
    fast = quick(held.prefix)
    assert isinstance(fast, torch.fx.GraphModule)
    called = [fast.get_submodule(node.target) for node in fast.graph.nodes if node.op == "call_module"]
    assert sum(isinstance(each, nn.Conv2d) for each in called) == 10
    assert not any(isinstance(each, nn.BatchNorm2d) for each in called)


class Shared(nn.Module):
    """One convolution in two places, one of them followed by BatchNorm; one whose output is read twice."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel, self.norm = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)
        self.twice, self.after = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
        self.head = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.kernel(self.kernel(x)))
        y = self.twice(x)
        return self.head((self.after(y) + y).mean((2, 3)))


def test_what_something_else_reads_too_stays_as_it_is() -> None:
    network = with_statistics(Shared()).eval()
    traced = torch.fx.symbolic_trace(network)
    pictures = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(quick(traced)(pictures), network(pictures))
