"""What speaks for a class is found where it is, in every network that has rows and columns at a cut."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from tests_networks import Small
from torch import nn

from thawline.models.grad_cam import grad_cam
from thawline.models.head_cuts import read_cuts
from thawline.models.zoo import build


class Colours(nn.Module):
    """Scores each class by how much of its colour there is."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(3, 3, 1, bias=False)
        self.head = nn.Linear(3, 3, bias=False)
        self.mix.weight.data = torch.eye(3)[..., None, None].clone()
        self.head.weight.data = torch.eye(3) - 0.1

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.mix(pictures)).mean((2, 3)))


def test_a_map_is_bright_where_the_class_is() -> None:
    pictures = torch.zeros(2, 3, 4, 4)
    pictures[0, 0, 1, 2] = 1.0  # red
    pictures[0, 2, 3, 3] = 1.0  # blue
    pictures[1, 2, 0, 0] = 1.0
    maps = grad_cam(Colours().eval(), pictures, torch.tensor([0, 2]))
    assert maps is not None
    assert maps.after == "mix"
    expected = np.zeros((2, 4, 4), np.float32)
    expected[0, 1, 2] = expected[1, 0, 0] = 1
    np.testing.assert_array_equal(maps.values, expected)


def test_what_speaks_against_a_class_is_left_out() -> None:
    pictures = torch.zeros(1, 3, 4, 4)
    pictures[0, 2] = 1.0
    maps = grad_cam(Colours().eval(), pictures, torch.tensor([0]))
    assert maps is not None
    assert not maps.values.any()


@pytest.mark.parametrize("cuts", [(), (1, 2)])
def test_the_last_cut_with_rows_and_columns_is_looked_at(cuts: tuple[int, ...]) -> None:
    network = read_cuts(Small(2).eval(), cuts, seed=0)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    maps = grad_cam(network, torch.rand(3, 3, 16, 16), torch.tensor([0, 1, 1]))
    assert maps is not None
    assert maps.values.shape == (3, 8, 8)
    assert maps.after == "blocks.1"
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize(("name", "size", "rows"), [("swin", 32, 4), ("timm:efficientnet_lite0", 64, 2)])
def test_networks_people_use_have_a_map(
    name: str, size: int, rows: int, build_small_of_kind: Callable[[str], nn.Module]
) -> None:
    """With the channels last, and first."""
    network = (build_small_of_kind(name).float() if name == "swin" else build(name, 3, seed=0)).eval()
    maps = grad_cam(network, torch.rand(2, 3, size, size), torch.tensor([0, 2]))
    assert maps is not None
    assert maps.values.shape == (2, rows, rows)
    assert np.isfinite(maps.values).all()
    assert maps.values.max() <= 1


def test_tokens_have_no_rows_and_columns() -> None:
    network = build("timm:vit_tiny_patch16_224", 3, seed=0, img_size=32).eval()
    assert grad_cam(network, torch.rand(1, 3, 32, 32), torch.tensor([0])) is None
