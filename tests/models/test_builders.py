"""Proof over every classification builder of torchvision: each cut splits the network exactly."""

import math

import pytest
import torch
from tests_networks import SMALLEST
from torch import nn

from thawline.models.cuts import divide
from thawline.models.depth import resolve_depth
from thawline.models.head import attach_heads
from thawline.models.splitting import part
from thawline.models.zoo import architectures, build

# The smallest pictures, where 32 pixels are too few or the builder must be told.
SIDES = {"alexnet": 63, "inception_v3": 75, "vit_h_14": 28, "vit_b_32": 64, "vit_l_32": 64, "maxvit_t": 224}


def fill(network: nn.Module) -> None:
    """Weights of the usual size (He et al. 2015), all different, but cut from a few shared buffers: the
    largest networks would take 2.5 GB each."""
    parameters = dict(network.named_parameters())
    longest: dict[int, int] = {}
    for parameter in parameters.values():
        longest[fan_in(parameter)] = max(longest.get(fan_in(parameter), 0), parameter.numel())
    noise = torch.randn(9973, generator=torch.Generator().manual_seed(0))
    buffers = {
        fan: noise.repeat((length + 997) // 9973 + 1) * (math.sqrt(2 / fan) if fan else 0.1)
        for fan, length in longest.items()
    }
    for index, (name, parameter) in enumerate(parameters.items()):
        start = index % 997
        values = buffers[fan_in(parameter)][start : start + parameter.numel()].view(parameter.shape)
        scale = parameter.dim() == 1 and name.endswith("weight")  # of a normalisation
        parameter.data = values + 1 if scale else values


def fan_in(parameter: nn.Parameter) -> int:
    return parameter[0].numel() if parameter.dim() > 1 else 0


@pytest.fixture
def made(monkeypatch):
    """Builds a network without drawing its weights: that takes longer than the proof."""
    for name in (
        "uniform_",
        "normal_",
        "trunc_normal_",
        "kaiming_uniform_",
        "kaiming_normal_",
        "xavier_uniform_",
    ):
        monkeypatch.setattr(nn.init, name, lambda tensor, *args, **kwargs: tensor)  # noqa: ARG005
    monkeypatch.setattr(torch.Tensor, "normal_", lambda tensor, *args, **kwargs: tensor)  # noqa: ARG005

    def make(architecture: str, side: int) -> nn.Module:
        options = {"image_size": side} if architecture.startswith("vit") else {}
        network = build(architecture, 5, **options)
        fill(network)
        return network.eval()

    return make


def test_there_are_eighty_builders():
    assert len(architectures()) == 80


@pytest.mark.slow
@pytest.mark.parametrize("architecture", architectures())
@torch.no_grad()
def test_every_cut_is_exact(architecture, made):
    side = SIDES.get(architecture, 32)
    network = made(architecture, side)
    pictures = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    expected = network(pictures)
    assert expected.shape == (2, 5)
    assert expected.isfinite().all()
    assert not torch.equal(expected[0], expected[1])

    whole = divide(network)
    deepest = len(whole.units)
    checked = {deepest // 2, deepest}
    if architecture in SMALLEST:
        checked.add(1)  # nearly the whole once more
    features = pictures
    for depth in range(1, deepest + 1):
        # Prefixes are chained, so that all cuts together cost one pass through the network.
        features = part(whole, depth - 1, depth)(features)
        assert len(features) == 2
        if depth in checked:
            assert (part(whole, depth)(features) - expected).abs().max() == 0

    names = [unit.name for unit in whole.units]
    assert 7 <= deepest <= 250
    assert len(set(names)) == deepest
    assert [resolve_depth(name, whole.units) for name in names] == list(range(1, deepest + 1))
    in_units = [name for unit in whole.units for name in unit.parameters]
    in_head = [name for name, _ in network.named_parameters() if name.startswith(f"{whole.head}.")]
    assert sorted(in_units + in_head) == sorted(name for name, _ in network.named_parameters())

    attach_heads(network, 7)
    assert part(divide(network), deepest)(features).shape == (2, 7)
