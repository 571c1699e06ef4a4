"""Convolutions as matrix products are PyTorch's, but for rounding and for how long they take."""

import copy
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from thawline.models.convolution import (
    MANY,
    Geometry,
    convolution,
    images_gradient,
    kernel_gradient,
    output_of,
    quick_convolutions,
    quicken,
)
from thawline.models.layout import fastest
from thawline.models.zoo import build

LAYOUTS = (torch.contiguous_format, torch.channels_last)
some = st.integers(1, 3)


@pytest.fixture
def avx2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor, Geometry]:
    """Images, a kernel that fits into them with their padding, and a geometry, in double precision."""
    kernel, stride, dilation = (draw(st.tuples(some, some)) for _ in range(3))
    padding = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    least = [max(1, dilation[i] * (kernel[i] - 1) + 1 - 2 * padding[i]) for i in (0, 1)]
    size = [each + draw(st.integers(0, 4)) for each in least]
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    batch, channels, outputs = (draw(some) for _ in range(3))
    images, weight = (
        torch.randn(shape, dtype=torch.float64, generator=generator).contiguous(
            memory_format=draw(st.sampled_from(LAYOUTS))
        )
        for shape in ((batch, channels, *size), (outputs, channels, *kernel))
    )
    return images, weight, Geometry(stride, padding, dilation)


@given(convolutions())
def test_every_pass_is_that_of_pytorch(
    given_convolution: tuple[torch.Tensor, torch.Tensor, Geometry],
) -> None:
    images, kernel, geometry = given_convolution
    images.requires_grad_()
    kernel.requires_grad_()
    expected = functional.conv2d(images, kernel, None, *geometry)
    gradient = torch.randn_like(expected)
    of_images, of_kernel = torch.autograd.grad(expected, (images, kernel), gradient)

    with torch.no_grad():
        torch.testing.assert_close(output_of(images, kernel, geometry), expected)
        torch.testing.assert_close(images_gradient(gradient, kernel, images.shape[2:], geometry), of_images)
        torch.testing.assert_close(kernel_gradient(images, gradient, kernel, geometry), of_kernel)


@pytest.mark.parametrize(
    ("places", "layout"), [(1, torch.contiguous_format), (1, torch.channels_last), (3, torch.channels_last)]
)
def test_a_kernels_gradient_lies_as_the_kernel_does(places: int, layout: torch.memory_format) -> None:
    kernel = torch.empty(4, 5, places, places).to(memory_format=layout)
    images, gradient = torch.randn(2, 5, 3, 3), torch.randn(2, 4, 3, 3)
    geometry = Geometry((1, 1), (places // 2, places // 2), (1, 1))
    assert kernel_gradient(images, gradient, kernel, geometry).stride() == kernel.stride()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [2, 8])
@pytest.mark.parametrize("learns", [(True, True), (False, True), (True, False)])
def test_what_learns_gets_the_gradient_that_pytorch_gives(
    layout: torch.memory_format, size: int, learns: tuple[bool, bool]
) -> None:
    images = torch.randn(3, 512, size, size)
    kernel = torch.randn(256, 512, 3, 3).contiguous(memory_format=layout)
    given_to = [each.requires_grad_(does) for each, does in zip((images, kernel), learns, strict=True)]
    geometry = Geometry((1, 1), (1, 1), (1, 1))
    ours, expected = convolution(images, kernel, geometry), functional.conv2d(images, kernel, padding=1)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-3)
    wanted = [each for each in given_to if each.requires_grad]
    gradient = torch.randn_like(expected)
    for found, right in zip(
        torch.autograd.grad(ours, wanted, gradient),
        torch.autograd.grad(expected, wanted, gradient),
        strict=True,
    ):
        torch.testing.assert_close(found, right, rtol=1e-4, atol=1e-3)


def test_a_second_derivative_is_refused() -> None:
    images, kernel = torch.randn(1, 2, 2, 2), torch.randn(2, 2, 1, 1, requires_grad=True)
    output = convolution(images, kernel, Geometry((1, 1), (0, 0), (1, 1)))
    (gradient,) = torch.autograd.grad(output.square().sum(), kernel, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@pytest.mark.usefixtures("avx2")
@pytest.mark.parametrize("architecture", ["resnet18", "mobilenet_v3_small"])
def test_a_network_learns_what_it_would(architecture: str) -> None:
    torch.manual_seed(0)
    images, labels = torch.randn(4, 3, 64, 64), torch.tensor([0, 1, 0, 1])
    # in evaluation mode: normalising four pictures amplifies rounding, and dropout is drawn
    plain = build(architecture, 2, seed=0).eval().double()
    quick = copy.deepcopy(plain).float()
    functional.cross_entropy(plain(images.double()), labels).backward()
    with fastest(quick):
        functional.cross_entropy(quick(images), labels).backward()
    for (name, right), found in zip(plain.named_parameters(), quick.parameters(), strict=True):
        assert right.grad is not None
        assert found.grad is not None
        error = (found.grad - right.grad).norm() / right.grad.norm().clamp_min(1e-6)
        assert error < 1e-3, name


def changed(network: nn.Module) -> set[str]:
    return {name for name, layer in network.named_modules() if "_conv_forward" in vars(layer)}


@pytest.mark.usefixtures("avx2")
def test_convolutions_of_many_channels_are_exchanged_for_the_length_of_the_block() -> None:
    network = build("resnet18", 2, seed=0)
    with quick_convolutions(network):
        assert "layer4.1.conv2" in changed(network)
        assert "layer3.0.conv2" in changed(network)
        assert "layer2.0.conv2" not in changed(network)
    assert not changed(network)


@pytest.mark.usefixtures("avx2")
def test_what_computes_something_else_is_left_alone() -> None:
    class Own(nn.Conv2d):
        def _conv_forward(
            self, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
        ) -> torch.Tensor:
            return 2 * super()._conv_forward(input, weight, bias)

    network = nn.ModuleDict(
        {
            "own": Own(256, 256, 3),
            "grouped": nn.Conv2d(512, 512, 3, groups=2),
            "reflecting": nn.Conv2d(256, 256, 3, padding=1, padding_mode="reflect"),
            "same": nn.Conv2d(256, 256, 3, padding="same"),
            "few": nn.Conv2d(MANY // 256 - 1, 256, 3),
            "many": nn.Conv2d(MANY // 256, 256, 3),
        }
    )
    with quick_convolutions(network):
        assert changed(network) == {"many"}


def test_a_processor_with_wider_registers_keeps_what_is_made_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    assert quicken(build("resnet18", 2, seed=0)) == []


@pytest.mark.usefixtures("avx2")
@pytest.mark.parametrize("bias", [True, False])
def test_other_precisions_and_single_pictures_are_computed_as_ever(bias: bool) -> None:
    layer = nn.Conv2d(256, 256, 3, padding=1, bias=bias)
    image = torch.randn(256, 2, 2)
    expected = layer(image)
    with quick_convolutions(layer):
        assert torch.equal(layer(image), expected)
        torch.testing.assert_close(layer(image[None]), expected[None], rtol=1e-4, atol=1e-4)
        with torch.autocast("cpu", torch.bfloat16):
            assert layer(image[None]).dtype is torch.bfloat16
        layer.double()
        assert layer(image[None].double()).dtype is torch.float64


@pytest.mark.usefixtures("avx2")
def test_a_copy_of_a_quick_network_computes_with_its_own_kernels() -> None:
    layer, images = nn.Conv2d(256, 256, 3), torch.randn(1, 256, 5, 5)
    with quick_convolutions(layer):
        other = copy.deepcopy(layer)
        other.stride = (2, 2)
        expected = functional.conv2d(images, other.weight, other.bias, 2)
        torch.testing.assert_close(other(images), expected, rtol=1e-4, atol=1e-4)
        assert layer(images).shape[2:] == (3, 3)


@pytest.mark.usefixtures("avx2")
def test_a_pickled_copy_is_read_again(tmp_path: Path) -> None:
    layer, images = nn.Conv2d(256, 256, 3), torch.randn(1, 256, 3, 3)
    with quick_convolutions(layer):
        expected = layer(images)
        torch.save(layer, tmp_path / "layer.pt")
    again = torch.load(tmp_path / "layer.pt", weights_only=False)
    assert torch.equal(again(images), expected)


@pytest.mark.usefixtures("avx2")
def test_the_outermost_block_ends_it_and_so_does_an_error() -> None:
    network = nn.Sequential(nn.Conv2d(256, 256, 3))
    with quick_convolutions(network):
        with quick_convolutions(network):
            assert changed(network) == {"0"}
        assert changed(network) == {"0"}
    with pytest.raises(RuntimeError), quick_convolutions(network):
        network(torch.zeros(1, 3, 4, 4))
    assert not changed(network)


@pytest.mark.usefixtures("avx2")
@pytest.mark.parametrize("kernel", [1, 3])
def test_what_comes_next_may_change_the_output_in_place(kernel: int) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(512, 512, kernel, padding=kernel // 2, bias=False), nn.ReLU(inplace=True)
    )
    images = torch.randn(2, 512, 2, 2)
    network.to(memory_format=torch.channels_last)
    expected = network(images)
    gradient = torch.autograd.grad(expected.sum(), network[0].weight)
    with quick_convolutions(network):
        found = network(images)
        assert (found == 0).any()
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
        found = torch.autograd.grad(found.sum(), network[0].weight)
    torch.testing.assert_close(found, gradient, rtol=1e-4, atol=1e-3)


@pytest.mark.usefixtures("avx2")
@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("kernel", [1, 3])
def test_in_the_usual_layout_the_output_has_it_too(size: int, kernel: int) -> None:
    layer = nn.Conv2d(512, 512, kernel, padding=kernel // 2)
    with quick_convolutions(layer):
        output = layer(torch.randn(2, 512, size, size))
    assert output.view(2, -1).shape == (2, 512 * size * size)
    output.sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.is_contiguous()


@pytest.mark.usefixtures("avx2")
def test_no_pictures_and_too_large_kernels_are_as_ever() -> None:
    layer = nn.Conv2d(512, 512, 3).to(memory_format=torch.channels_last)
    with quick_convolutions(layer):
        assert layer(torch.zeros(0, 512, 3, 3)).shape == (0, 512, 1, 1)
        with pytest.raises(RuntimeError, match="can't be greater than actual input size"):
            layer(torch.zeros(1, 512, 2, 2))
