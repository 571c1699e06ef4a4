"""Networks whose code rests on the usual layout keep it."""

import torch
from tests_networks import freeze
from torch import nn

from thawline.models.layout import in_cache, in_layout, layout_of
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
    with in_layout(network, layout_of(network)):
        assert kernel.is_contiguous(memory_format=torch.channels_last)
    assert strides(network) == before
    assert network.get_parameter("conv1.weight") is kernel


def test_a_network_of_the_users_own_stays_as_it_is() -> None:
    network, pictures = Viewing(), torch.randn(2, 3, 4, 4)
    before = strides(network)
    with in_layout(network, layout_of(network)):
        assert strides(network) == before
        network(pictures)
    assert layout_of(network) is torch.contiguous_format


def test_a_frozen_network_is_known_by_what_it_holds() -> None:
    assert layout_of(freeze(build("resnet18", 2, seed=0), 3)) is torch.channels_last


def test_gradients_lie_as_their_kernels_do() -> None:
    """Or autograd copies each of them, and DDP warns."""
    network = build("resnet18", 2, seed=0)
    with in_layout(network, torch.channels_last):
        network(torch.randn(2, 3, 32, 32)).sum().backward()
        for name, each in network.named_parameters():
            assert each.grad is not None
            assert each.grad.stride() == each.stride(), name


def test_a_block_inside_another_changes_nothing() -> None:
    network = build("resnet18", 2, seed=0)
    before = strides(network)
    with in_layout(network, layout_of(network)):
        inside = strides(network)
        with in_layout(network, layout_of(network)):
            pass
        assert strides(network) == inside
    assert strides(network) == before


def test_what_has_five_axes_is_left_alone() -> None:
    network = build("resnet18", 2, seed=0)
    network.register_buffer("video", torch.zeros(1, 2, 3, 4, 5))
    with in_layout(network, layout_of(network)):
        assert network.get_buffer("video").is_contiguous()


def test_processors_compute_as_many_pictures_at_once_as_their_caches_hold() -> None:
    photographs, digits = torch.zeros(20, 3, 224, 224), torch.zeros(20, 3, 32, 32)
    assert [len(part) for part in in_cache(photographs)] == [8, 8, 4]
    assert [len(part) for part in in_cache(digits)] == [20]
    assert [len(part) for part in in_cache(torch.zeros(3, 3, 2000, 2000))] == [1, 1, 1]
    assert [part.shape for part in in_cache(digits[:0])] == [(0, 3, 32, 32)]
