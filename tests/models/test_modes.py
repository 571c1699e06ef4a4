"""Frozen units between units that learn: what training drops at random stays, wherever it is written."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional
from torchvision.ops import StochasticDepth

from thawline.models.freezing import PartlyFrozen, hold, thaw
from thawline.models.selection import select


class Opaque(nn.Module):
    """Branches on its own mode, so that it is one step of the graph, whatever it consists of."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Dropout(1.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x) if self.training else self.inner(x + 0)


SHARED = {
    "dropout layer": nn.Dropout(1.0),
    "stochastic depth": StochasticDepth(1.0, "row"),
    "opaque module": Opaque(),
    "dropout function": None,
}


class Residuals(nn.Module):
    """Three residual layers whose branches are all dropped while training, by one module or by none."""

    def __init__(self, dropping: nn.Module | None) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
        self.head = nn.Linear(4, 2)
        self.dropping = dropping

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            branch = layer(x)
            if self.dropping is None:
                x = x + functional.dropout(branch, 1.0, self.training)
            else:
                x = x + self.dropping(branch)
        return self.head(x)


ROWS = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=SHARED)
def network(request) -> Residuals:
    torch.manual_seed(0)
    return Residuals(copy.deepcopy(SHARED[request.param]))


def with_branches(network: Residuals, *kept: int) -> torch.Tensor:
    x = ROWS
    for index in kept:
        x = x + network.layers[index](x)
    return network.head(x)


def surgical(network: nn.Module, *frozen: int) -> PartlyFrozen:
    return hold(network, select(network, frozen))


@pytest.mark.parametrize("frozen", [(), (1,), (0, 2), (0, 1, 2)])
def test_only_frozen_units_keep_what_training_drops(network, frozen):
    model = surgical(network, *frozen).train()
    assert torch.equal(model(ROWS), with_branches(network, *frozen))
    model.suffix.train()
    assert torch.equal(model(ROWS), with_branches(network, *frozen))


def test_in_evaluation_mode_nothing_differs(network):
    model = surgical(network, 1).train().eval()
    assert torch.equal(model(ROWS), network.eval()(ROWS))


def test_a_copy_keeps_it_too(network):
    model = surgical(network, 1)
    twin = copy.deepcopy(model).train()
    assert torch.equal(twin(ROWS), with_branches(network, 1))


def test_thawed_units_drop_again(network):
    surgical(network, 1)
    thaw(network)
    assert torch.equal(network.train()(ROWS), with_branches(network))
    assert torch.equal(surgical(network).train()(ROWS), with_branches(network))


def test_the_network_itself_keeps_its_steps(network):
    before = dict(network.named_modules())
    surgical(network, 1)
    assert dict(network.named_modules()) == before


class Own(nn.Module):
    """A layer of its own in each unit, so that modes can be told from the modules alone."""

    def __init__(self) -> None:
        super().__init__()
        # dropout belongs to the layer that reads its output
        self.body = nn.Sequential(*(nn.Sequential(nn.Dropout(1.0), nn.Linear(4, 4)) for _ in range(3)))
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x))


def test_the_network_called_directly_holds_what_only_frozen_units_use():
    network = Own()
    surgical(network, 1)
    network.train()
    assert [unit[0].training for unit in network.body] == [True, False, True]


class WithBranch(nn.Module):
    """An auxiliary head while training, off the middle of three layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Linear(4, 4) for _ in range(3))
        self.dropout = nn.Dropout(1.0)
        self.branch = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        x = self.first(x)
        x = self.second(x) + self.dropout(x)
        auxiliary = self.branch(x) if self.training else None
        x = self.third(x) + self.dropout(x)
        return (self.head(x), auxiliary) if self.training else self.head(x)


def test_networks_with_auxiliary_heads_hold_the_modes_in_both_ways():
    network = WithBranch()
    model = surgical(network, 2)
    x = network.second(network.first(ROWS))
    logits, auxiliary = model.train()(ROWS)
    assert torch.equal(logits, network.head(network.third(x) + x))
    assert torch.equal(auxiliary, network.branch(x))
    assert torch.equal(model.eval()(ROWS), network.eval()(ROWS))
