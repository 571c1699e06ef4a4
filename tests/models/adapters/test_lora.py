"""The formulas behind lora and scale_shift, and the same from another library."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrize

from thawline.models.adapters.added import added_parameters
from thawline.models.adapters.lora import LowRank, add_low_rank
from thawline.models.adapters.scale_shift import add_scale_and_shift
from thawline.models.adapters.weights import merge_weights, plain_name

DOUBLE = {"dtype": torch.float64}


def low_rank(layer: nn.Module, name: str = "weight", rank: int = 3, scale: float = 2.5) -> LowRank:
    """Adds it to one weight, with a random B."""
    add_low_rank(layer, [name], rank, scale)
    change = layer.parametrizations[name][0]
    nn.init.normal_(change.b)
    return change


def test_a_linear_layer_computes_w_plus_s_b_a():
    layer = nn.Linear(7, 5, **DOUBLE)
    plain, x = layer.weight.detach().clone(), torch.randn(4, 7, **DOUBLE)
    change = low_rank(layer)
    assert (change.a.shape, change.b.shape) == ((3, 7), (5, 3))
    expected = x @ (plain + 2.5 * change.b @ change.a).T + layer.bias
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_a_convolution_computes_a_thin_one_and_then_mixes_its_outputs(groups):
    layer = nn.Conv2d(6, 12, 3, stride=2, padding=1, groups=groups, **DOUBLE)
    plain, x = layer.weight.detach().clone(), torch.randn(2, 6, 9, 9, **DOUBLE)
    change = low_rank(layer)
    inputs, outputs = 6 // groups, 12 // groups
    thin = change.a.view(3, inputs, 3, 3).repeat(groups, 1, 1, 1)  # every group has the same A
    middle = functional.conv2d(x, thin, stride=2, padding=1, groups=groups)
    mixed = functional.conv2d(middle, change.b.view(groups * outputs, 3, 1, 1), groups=groups)
    expected = functional.conv2d(x, plain, layer.bias, stride=2, padding=1, groups=groups) + 2.5 * mixed
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-12)


def test_attention_is_reached_though_it_reads_its_weights_itself():
    layer = nn.MultiheadAttention(8, 2, batch_first=True, **DOUBLE)
    x = torch.randn(2, 5, 8, **DOUBLE)
    expected = layer(x, x, x)[0]
    projections = low_rank(layer, "in_proj_weight")
    assert (projections.a.shape, projections.b.shape) == ((3, 8), (24, 3))
    once = layer(x, x, x)[0]
    low_rank(layer.out_proj)
    assert not torch.allclose(once, expected)
    assert not torch.allclose(layer(x, x, x)[0], once)


def test_the_rank_is_cut_to_what_the_matrix_can_have():
    layer = nn.Conv2d(6, 6, 3, groups=6)
    change = low_rank(layer, rank=50)
    assert (change.a.shape, change.b.shape) == ((6, 9), (6, 6))


def test_normalisations_and_biases_are_left_alone_by_lora():
    network = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.BatchNorm1d(4))
    add_low_rank(network, [name for name, _ in network.named_parameters()], 2, 1.0)
    assert added_parameters(network) == {"0.parametrizations.weight.0.a", "0.parametrizations.weight.0.b"}


@pytest.mark.parametrize(
    ("layer", "x"),
    [
        (nn.Linear(4, 6, **DOUBLE), torch.randn(3, 4, **DOUBLE)),
        (nn.Conv2d(4, 6, 3, groups=2, **DOUBLE), torch.randn(3, 4, 5, 5, **DOUBLE)),
        (nn.BatchNorm2d(6, **DOUBLE).eval(), torch.randn(3, 6, 5, 5, **DOUBLE)),
        (nn.LayerNorm(6, **DOUBLE), torch.randn(3, 6, **DOUBLE)),
    ],
    ids=["linear", "grouped convolution", "batch norm", "layer norm"],
)
def test_scale_and_shift_act_on_each_output_channel(layer, x):
    before, bias = layer(x), layer.bias.detach().clone()
    add_scale_and_shift(layer, ["weight", "bias"])
    scale, shift = layer.parametrizations.weight[0].factor, layer.parametrizations.bias[0].summand
    nn.init.normal_(scale)
    nn.init.normal_(shift)
    gamma = scale.flatten()
    beta = shift + (1 - gamma) * bias  # as the paper counts it
    shape = (1, -1, *[1] * (before.dim() - 2))
    torch.testing.assert_close(layer(x), gamma.view(shape) * before + beta.view(shape), rtol=0, atol=1e-12)


def test_a_layer_without_bias_is_only_scaled():
    network = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False))
    add_scale_and_shift(network, ["0.weight", "0.bias"])
    assert added_parameters(network) == {"0.parametrizations.weight.0.factor"}
    assert network[0].bias is None


def test_a_weight_the_network_computes_itself_is_left_alone():
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))
    names = [name for name, _ in layer.named_parameters()]
    add_low_rank(layer, names, 2, 1.0)
    merge_weights(layer)
    assert [name for name, _ in layer.named_parameters()] == names


def test_gradients_of_what_is_merged_go_on_where_they_did():
    network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    network[1].weight.requires_grad_(False)
    add_low_rank(network, ["0.weight", "1.weight"], 2, 1.0)
    merge_weights(network)
    assert not parametrize.is_parametrized(network[0])
    assert [network[index].weight.requires_grad for index in (0, 1)] == [True, False]


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("conv.parametrizations.weight.original", "conv.weight"),
        ("parametrizations.weight.original", "weight"),
        ("conv.parametrizations.weight.0.a", "conv.parametrizations.weight.0.a"),
        ("conv.weight", "conv.weight"),
    ],
)
def test_tensors_are_found_under_the_names_they_had(name, plain):
    assert plain_name(name) == plain
