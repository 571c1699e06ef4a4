import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests_networks import Small
from torch import nn
from torch.nn import functional

from thawline.config.errors import UserError
from thawline.models.cuts import divide, head_name, units
from thawline.models.splitting import part, split
from thawline.models.zoo import build


def names(network: nn.Module) -> list[str]:
    return [unit.name for unit in units(network)]


def test_a_resnet_is_its_stem_and_its_blocks(resnet):
    blocks = [f"layer{stage}.{block}" for stage in (1, 2, 3, 4) for block in (0, 1)]
    assert names(resnet) == ["conv1", *blocks]
    assert head_name(resnet) == "fc"


def test_the_stem_takes_its_normalisation_along(resnet):
    stem = units(resnet)[0]
    assert stem.parameters == ("conv1.weight", "bn1.weight", "bn1.bias")
    assert stem.buffers == ("bn1.running_mean", "bn1.running_var", "bn1.num_batches_tracked")


@pytest.mark.parametrize("network", ["vit"], indirect=True)
def test_tokens_and_embeddings_belong_to_the_unit_before_them(network):
    first = units(network)[0]
    assert first.name == "conv_proj"
    assert {"class_token", "encoder.pos_embedding"} <= set(first.parameters)
    assert {"encoder.ln.weight", "encoder.ln.bias"} <= set(units(network)[-1].parameters)


@pytest.mark.parametrize("network", ["densenet"], indirect=True)
def test_a_dense_block_has_no_cut_inside(network):
    assert names(network) == [
        "features.conv0",
        "features.denseblock1",
        "features.transition1.conv",
        "features.denseblock2",
    ]


@pytest.mark.parametrize("network", ["swin"], indirect=True)
def test_weights_used_by_a_function_make_a_unit_too(network):
    assert names(network) == [
        "features.0",
        "features.1.0.attn",
        "features.1.0.mlp",
        "features.2.reduction",
        "features.3.0.attn",
        "features.3.0.mlp",
        "features.3.1.attn",
        "features.3.1.mlp",
    ]


def test_the_last_of_the_vgg_classifier_is_the_head():
    with torch.device("meta"):
        network = build("vgg11", 5)
    assert names(network)[-2:] == ["classifier.0", "classifier.3"]
    assert head_name(network) == "classifier.6"


def test_every_parameter_is_in_one_unit_or_in_the_head(network):
    in_head = f"{head_name(network)}."
    everything = [name for name, _ in network.named_parameters()]
    counted = [name for unit in units(network) for name in unit.parameters]
    assert sorted(counted) == sorted(name for name in everything if not name.startswith(in_head))


def test_every_persistent_buffer_is_in_one_unit(network):
    found = [name for unit in units(network) for name in unit.buffers]
    assert len(found) == len(set(found))
    assert set(network.state_dict()) - dict(network.named_parameters()).keys() <= set(found)


def test_names_are_unique_and_lead_to_a_module(network):
    assert len(set(names(network))) == len(names(network))
    for name in names(network):
        assert list(network.get_submodule(name).parameters())


class Shared(nn.Module):
    """One layer applied twice, with another in between."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.again, self.between, self.head = (nn.Linear(4, 4) for _ in range(4))

    def forward(self, x):
        return self.head(self.again(self.between(self.again(self.first(x)))))


def test_no_cut_separates_two_uses_of_one_layer():
    found = units(Shared())
    assert [unit.name for unit in found] == ["first", "again"]
    assert set(found[1].parameters) == {"again.weight", "again.bias", "between.weight", "between.bias"}


class WithBatchSize(nn.Module):
    """Asks for the number of pictures first and needs it last, as many hand-written networks do."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.conv1, self.conv2 = nn.Conv2d(3, 4, 3, 2), nn.Conv2d(4, 4, 3, 2)
        self.head = nn.Linear(4 * 7 * 7, 5)

    def forward(self, x):
        if self.how == "shape":
            count, *_ = x.shape[0], x.shape[1]
        else:
            count = x.size(0) if self.how == "size(0)" else x.size()[0]
        return self.head(self.conv2(self.conv1(x)).view(count, -1))


@pytest.mark.parametrize("how", ["shape", "size(0)", "size()"])
def test_the_number_of_pictures_may_cross_a_cut(how, pictures):
    network = WithBatchSize(how).double()
    assert names(network) == ["conv1", "conv2"]
    prefix, suffix = split(network, 1)
    assert torch.equal(suffix(prefix(pictures)), network(pictures))
    assert torch.equal(suffix(prefix(pictures[:2])), network(pictures[:2]))


class ReshapedWeight(nn.Module):
    """A layer of one's own that does something to its weight before it is used."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 12))

    def forward(self, x):
        return functional.conv2d(x, self.weight.view(4, 3, 2, 2))


def test_a_weight_that_is_reshaped_first_is_still_a_weight():
    network = nn.Sequential(ReshapedWeight(), nn.Conv2d(4, 4, 1), nn.Flatten(), nn.LazyLinear(5))
    network(torch.zeros(1, 3, 8, 8))
    assert names(network) == ["0", "1"]


def test_dropout_stays_with_the_layer_it_regularises():
    network = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4, 5))
    prefix, suffix = split(network, 1)
    assert [type(module) for module in prefix.children()] == [nn.Linear, nn.ReLU]
    assert [type(module) for module in suffix.children()] == [nn.Dropout, nn.Linear]


def test_dropout_before_a_normalisation_does_not_take_it_along():
    network = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.BatchNorm1d(4), nn.Linear(4, 5))
    assert units(network)[0].parameters == ("0.weight", "0.bias", "2.weight", "2.bias")


def test_a_network_of_one_layer_is_all_head():
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
    assert units(network) == ()
    assert head_name(network) == "1"


@pytest.mark.parametrize(
    "network", [nn.Sequential(nn.ReLU()), nn.Sequential(nn.BatchNorm2d(3)), nn.Identity()], ids=repr
)
def test_a_network_without_an_output_layer_is_refused(network):
    with pytest.raises(UserError, match="no output layer that can be replaced"):
        units(network)


class Residual(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x):
        return functional.relu(x + self.body(x), inplace=True)


class Branches(nn.Module):
    def __init__(self, left: nn.Module, right: nn.Module) -> None:
        super().__init__()
        self.left, self.right = left, right
        self.join = nn.Conv2d(8, 4, 1)

    def forward(self, x):
        return self.join(torch.cat([self.left(x), self.right(x)], 1))


class Halves(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1)

    def forward(self, x):
        left, right = x.chunk(2, 1)
        return torch.cat([self.right(right), self.left(left)], 1)


class Dropping(nn.Module):
    def forward(self, x):
        return functional.dropout(x, 0.3, self.training)


LAYERS = st.sampled_from(
    [
        lambda: nn.Conv2d(4, 4, 3, padding=1),
        lambda: nn.BatchNorm2d(4),
        lambda: nn.GroupNorm(2, 4),
        lambda: nn.ReLU(inplace=True),
        lambda: nn.MaxPool2d(3, 1, 1),
        lambda: nn.Dropout(0.3),
        Dropping,
        Halves,
    ]
)
BLOCKS = st.recursive(
    LAYERS,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=4).map(
            lambda made: lambda: nn.Sequential(*[one() for one in made])
        ),
        inner.map(lambda made: lambda: Residual(made())),
        st.tuples(inner, inner).map(lambda pair: lambda: Branches(pair[0](), pair[1]())),
    ),
    max_leaves=12,
)


def random_network(block) -> nn.Module:
    torch.manual_seed(0)
    stem, head = nn.Conv2d(3, 4, 3, 2), nn.Linear(4, 5)
    return nn.Sequential(stem, block(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head).double()


@settings(max_examples=15, deadline=None)
@given(BLOCKS, st.booleans())
def test_any_network_of_branches_is_cut_exactly(block, training):
    network = random_network(block)
    pictures = torch.randn(3, 3, 8, 8, dtype=torch.float64)
    found = units(network)
    for depth in range(len(found) + 1):
        network.train(training)
        torch.manual_seed(7)
        expected = network(pictures)
        prefix, suffix = (side.train(training) for side in split(network, depth))
        torch.manual_seed(7)
        assert torch.equal(suffix(prefix(pictures)), expected)


@settings(max_examples=10, deadline=None)
@given(BLOCKS)
def test_units_hold_what_the_prefix_holds_and_all_before_the_head(block):
    network = random_network(block)
    whole = divide(network)
    counted = [name for unit in whole.units for name in unit.parameters]
    assert sorted(counted) == sorted(n for n, _ in network.named_parameters() if not n.startswith("4."))
    for depth, unit in enumerate(whole.units, start=1):
        stretch = part(whole, depth - 1, depth)
        assert {name for name, _ in stretch.named_parameters()} == set(unit.parameters)


def test_a_plan_is_made_once_and_anew_when_the_network_changes() -> None:
    network = Small(3)
    first = divide(network)
    assert divide(network) is first
    network.head = nn.Linear(network.head.in_features, 5)
    second = divide(network)
    assert second is not first
    assert second.trace.value("head") is network.head


def test_no_copy_takes_a_plan_along() -> None:
    network = Small(3)
    first = divide(network)
    for twin in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert divide(twin) is not first
        assert divide(twin).trace.network is twin
