"""Networks whose code rests on the usual layout keep it."""

import pytest
import torch
from tests_networks import freeze
from torch import nn

from thawline.models.layout import channels_last, fastest_training, may_be_channels_last
from thawline.models.zoo import build


class Viewing(nn.Module):
    """Flattens as many do, with a view that exists in the usual layout only."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4 * 16, 2)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        features = self.kernel(pictures)
        return self.head(features.view(len(features), -1))


def strides(network: nn.Module) -> list[tuple[int, ...]]:
    return [each.stride() for each in network.parameters()]


def test_kernels_lie_with_their_channels_last_for_the_length_of_the_block() -> None:
    network = build("resnet18", 2, seed=0)
    before, kernel = strides(network), network.get_parameter("conv1.weight")
    with channels_last(network):
        assert kernel.is_contiguous(memory_format=torch.channels_last)
    assert strides(network) == before
    assert network.get_parameter("conv1.weight") is kernel


def test_a_network_of_the_users_own_stays_as_it_is() -> None:
    network, pictures = Viewing(), torch.randn(2, 3, 4, 4)
    before = strides(network)
    with channels_last(network):
        assert strides(network) == before
        network(pictures)
    assert not may_be_channels_last(network)


def test_a_frozen_network_is_known_by_what_it_holds() -> None:
    assert may_be_channels_last(freeze(build("resnet18", 2, seed=0), 3))


def test_gradients_lie_as_their_kernels_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or autograd copies each of them, and DDP warns."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    network = build("resnet18", 2, seed=0)
    with fastest_training(network, network, torch.device("cpu")):
        network(torch.randn(2, 3, 32, 32)).sum().backward()
        for name, each in network.named_parameters():
            assert each.grad is not None
            assert each.grad.stride() == each.stride(), name


def test_a_block_inside_another_changes_nothing() -> None:
    network = build("resnet18", 2, seed=0)
    before = strides(network)
    with channels_last(network):
        inside = strides(network)
        with channels_last(network):
            pass
        assert strides(network) == inside
    assert strides(network) == before


@pytest.mark.parametrize(
    ("capability", "device", "plain", "layout", "quick"),
    [
        ("AVX2", "cpu", True, True, True),
        # of these nothing was measured, or it did not pay
        ("AVX2", "cpu", False, False, False),
        ("AVX512", "cpu", True, False, False),
        ("AVX2", "mps", True, False, False),
        ("AVX2", "cuda", True, True, False),
        ("AVX512", "cuda", False, True, False),
    ],
)
def test_training_changes_what_pays_there(
    monkeypatch: pytest.MonkeyPatch, capability: str, device: str, plain: bool, layout: bool, quick: bool
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    network = build("resnet18", 2, seed=0)
    kernel, layer = network.get_parameter("conv1.weight"), network.get_submodule("layer4.1.conv2")
    with fastest_training(network, network, torch.device(device), plain=plain):
        assert kernel.is_contiguous(memory_format=torch.channels_last) is layout
        assert ("_conv_forward" in vars(layer)) is quick
    assert kernel.is_contiguous()
    assert "_conv_forward" not in vars(layer)


def test_what_has_five_axes_is_left_alone() -> None:
    network = build("resnet18", 2, seed=0)
    network.register_buffer("video", torch.zeros(1, 2, 3, 4, 5))
    with channels_last(network):
        assert network.get_buffer("video").is_contiguous()
