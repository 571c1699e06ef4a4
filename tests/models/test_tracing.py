import pytest
import torch
from torch import nn
from torch.nn import functional

from thawline.config.errors import UserError
from thawline.models.cuts import divide, units
from thawline.models.splitting import part, split
from thawline.models.tracing import trace
from thawline.models.zoo import build


def test_tracing_leaves_the_network_as_it_was(network):
    network.train()
    next(network.children()).eval()
    before = [dict(vars(module)) for module in network.modules()]
    trace(network)
    assert [dict(vars(module)) for module in network.modules()] == before


class FunctionalDropout(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(4, 50), nn.Linear(50, 5)

    def forward(self, x):
        return self.head(functional.dropout(self.first(x), 0.5, training=self.training))


@pytest.mark.parametrize("mode_when_split", [True, False])
def test_the_mode_is_read_when_the_graph_runs(mode_when_split):
    network = FunctionalDropout().train(mode_when_split)
    _, suffix = split(network, 1)
    features = torch.ones(1, 50)
    suffix.train()
    assert not torch.equal(suffix(features), suffix(features))
    suffix.eval()
    assert torch.equal(suffix(features), network.head(features))


class ReadsChildsMode(nn.Module):
    """Uses a layer's settings instead of calling it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.dropout, self.head = nn.Linear(4, 50), nn.Dropout(0.5), nn.Linear(50, 5)

    def forward(self, x):
        return self.head(functional.dropout(self.first(x), self.dropout.p, self.dropout.training))


def test_the_mode_of_a_layer_that_is_not_called_is_read_too():
    _, suffix = split(ReadsChildsMode().eval(), 1)
    features = torch.ones(1, 50)
    suffix.train()
    assert not torch.equal(suffix(features), suffix(features))


class Branching(nn.Module):
    """Branches on its mode, and only in one of them has noise."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        if self.training:
            return self.layer(x) + torch.randn(4)
        return self.layer(x)


def test_a_module_that_branches_on_its_mode_is_kept_whole():
    network = nn.Sequential(nn.Linear(4, 4), Branching(), nn.Linear(4, 5))
    assert [unit.name for unit in units(network)] == ["0", "1"]
    noisy = part(divide(network), 1, 2)
    features = torch.ones(1, 4)
    assert not torch.equal(noisy.train()(features), noisy(features))
    assert torch.equal(noisy.eval()(features), network[1].layer(features))


class DataDependent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        self.last = nn.Linear(4, 4)

    def forward(self, x):
        x = self.inner(x)
        return self.last(x) if x.sum() > 0 else x


def test_a_module_that_branches_on_values_is_kept_whole():
    network = nn.Sequential(nn.Linear(4, 4), DataDependent(), nn.Linear(4, 5))
    found = units(network)
    assert [unit.name for unit in found] == ["0", "1"]
    assert found[1].parameters == ("1.inner.0.weight", "1.inner.0.bias", "1.last.weight", "1.last.bias")


def test_an_outermost_branch_on_values_is_refused_readably():
    network = nn.Sequential(DataDependent())[0]
    with pytest.raises(UserError, match=r"DataDependent cannot be followed by torch[.]fx.*\n  .*sub-module"):
        units(network)


def test_a_failed_trace_leaves_the_network_as_it_was():
    network = DataDependent().eval()
    with pytest.raises(UserError):
        trace(network)
    assert [module.training for module in network.modules()] == [False] * 5
    assert network(torch.ones(1, 4)).shape == (1, 4)


class Constant(nn.Module):
    """Tensors made while running, and a buffer that is changed before use."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(4, 4), nn.Linear(4, 5)
        self.register_buffer("scale", torch.ones(4))

    def forward(self, x):
        return self.head(self.first(x) * (self.scale + 1) + torch.arange(4) + torch.tensor([1.0]))


def test_buffers_are_read_when_the_graph_runs():
    network = Constant()
    prefix, suffix = split(network, 1)
    network.scale.fill_(3)
    assert torch.equal(suffix(prefix(torch.ones(1, 4))), network(torch.ones(1, 4)))


def test_constants_do_not_stay_on_the_network():
    network = Constant()
    before = set(vars(network))
    prefix, suffix = split(network, 1)
    assert set(vars(network)) - {"_thawline_division"} == before
    assert set(prefix.state_dict()) | set(suffix.state_dict()) == set(network.state_dict())


class Optional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 5)

    def forward(self, x, mask=None, *, scale: float = 1.0):
        return self.head(x if mask is None else x * mask) * scale


def test_further_arguments_keep_their_defaults():
    assert units(Optional()) == ()


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 5)

    def forward(self, x):
        return self.head(x), x


def test_a_network_with_two_outputs_is_refused():
    with pytest.raises(UserError, match="returns tuple in evaluation mode"):
        units(Two())


class TrainsOtherwise(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 5)

    def forward(self, x):
        return self.head(self.first(x) if self.training else self.second(x))


def test_a_network_that_trains_another_way_is_refused():
    with pytest.raises(UserError, match="computes its logits in another way while training"):
        units(TrainsOtherwise())


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "vit_tiny_patch16_224"])
def test_timm_models_are_cut_as_well(name):
    pytest.importorskip("timm")
    options = {"img_size": 32} if name.startswith("vit") else {}
    network = build(f"timm:{name}", 5, **options).double().eval()
    pictures = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    found = units(network)
    assert len(found) > 5
    prefix, suffix = (side.eval() for side in split(network, len(found) // 2))
    with torch.no_grad():
        assert torch.equal(suffix(prefix(pictures)), network(pictures))
