import copy

import pytest
import torch
from tests_networks import freeze
from torch import nn

from thawline.models.cuts import units
from thawline.models.freezing import hold, state_hashes, thaw
from thawline.models.selection import Selection, select
from thawline.models.zoo import build


@pytest.fixture(params=["densenet", "swin"])
def network(request, build_small_of_kind) -> nn.Module:
    """Between them: BatchNorm, layers in place, dropout as a function, attention, stochastic depth."""
    return build_small_of_kind(request.param)


def step(model: nn.Module, network: nn.Module, pictures: torch.Tensor) -> None:
    """One optimizer step on everything that may be trained."""
    free = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(free, 0.1, weight_decay=0.1)
    (model(pictures) - 1).square().sum().backward()
    optimizer.step()


def test_training_changes_the_suffix_only(network, pictures):
    for depth in (1, len(units(network)) // 2, len(units(network))):
        model = freeze(network, depth).train()
        frozen = {name for unit in units(network)[:depth] for name in (*unit.parameters, *unit.buffers)}
        before = state_hashes(network)
        network.train()
        step(model, network, pictures)
        after = state_hashes(network)
        changed = {name for name in before if before[name] != after[name]}
        assert not changed & frozen
        assert changed & dict(network.named_parameters()).keys()


def test_frozen_parameters_have_no_gradient(network, pictures):
    network(pictures).sum().backward()
    freeze(network, 2)
    for unit in units(network)[:2]:
        for name in unit.parameters:
            parameter = network.get_parameter(name)
            assert not parameter.requires_grad
            assert parameter.grad is None
    for unit in units(network)[2:]:
        assert all(network.get_parameter(name).requires_grad for name in unit.parameters)


def test_the_prefix_ignores_train_wherever_it_is_called(network):
    model = freeze(network, 2)
    frozen = [module for module in model.prefix.modules() if list(module.children()) == []]
    for caller in (model, network, model.prefix, *frozen):
        caller.train()
        assert not any(module.training for module in model.prefix.modules())
    assert all(module.training for module in model.suffix.modules())


def test_evaluation_mode_reaches_everything(resnet):
    model = freeze(resnet, 4).train().eval()
    assert not any(module.training for module in model.modules())


def test_thawing_undoes_freezing(network):
    freeze(network, len(units(network)))
    thaw(network)
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert all(module.training for module in network.train().modules())


def test_freezing_again_replaces_the_depth(resnet):
    freeze(resnet, 9)
    freeze(resnet, 1)
    free = {name.split(".")[0] for name, tensor in resnet.named_parameters() if tensor.requires_grad}
    assert free == {"layer1", "layer2", "layer3", "layer4", "fc"}
    assert resnet.layer4.train()[0].bn1.training


def test_what_was_not_trainable_before_is_not_after(resnet):
    resnet.conv1.weight.requires_grad_(False)
    freeze(resnet, 2)
    thaw(resnet)
    assert not resnet.conv1.weight.requires_grad


def test_depth_0_freezes_nothing(resnet):
    model = freeze(resnet, 0).train()
    assert all(parameter.requires_grad for parameter in resnet.parameters())
    assert all(module.training for module in resnet.modules())
    assert model.suffix is resnet


def test_a_copy_of_a_frozen_network_is_frozen_on_its_own(resnet):
    freeze(resnet, 9)
    twin = copy.deepcopy(resnet)
    thaw(resnet)
    assert not twin.train().conv1.training
    assert resnet.train().conv1.training


def test_auxiliary_heads_of_the_prefix_are_frozen():
    network = build("googlenet", 5, seed=0, aux_logits=True, init_weights=False)
    freeze(network, 9)
    assert not any(parameter.requires_grad for parameter in network.aux1.parameters())
    assert all(parameter.requires_grad for parameter in network.aux2.parameters())


def test_a_move_keeps_the_two_sides_and_the_network_together(network, pictures):
    network.float()
    model = freeze(network, 2).double().eval()
    features = model.features(pictures)
    assert not features.requires_grad
    assert torch.equal(model.suffix(features), network.eval()(pictures))
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    for side in (model.prefix, model.suffix):
        for name, tensor in [*side.named_parameters(), *side.named_buffers()]:
            assert tensor is tensors[name]


class Scaled(nn.Module):
    """Reads a buffer itself, so that no layer of either side owns it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = (nn.Linear(4, 4) for _ in range(3))
        self.register_buffer("scale", torch.ones(4))

    def forward(self, x):
        return self.head(self.second(self.first(x)) * self.scale)


def test_a_moved_buffer_is_still_the_networks_own():
    network = Scaled()
    model = freeze(network, 1).double()
    network.scale.fill_(3)
    x = torch.randn(2, 4, dtype=torch.float64)
    assert model.suffix.scale is network.scale
    assert torch.equal(model(x), network(x))


def test_the_frozen_model_saves_and_loads(resnet):
    model = freeze(resnet, 4)
    state = copy.deepcopy(model.state_dict())
    before = state_hashes(resnet)
    with torch.no_grad():
        resnet.fc.weight.zero_()
    model.load_state_dict(state)
    assert state_hashes(resnet) == before


def test_hashes_see_values_shapes_and_types():
    layer = nn.Linear(2, 3)
    before = state_hashes(layer)
    assert state_hashes(copy.deepcopy(layer)) == before
    with torch.no_grad():
        layer.bias[0] += 1e-6
    assert state_hashes(layer)["bias"] != before["bias"]
    assert state_hashes(layer)["weight"] == before["weight"]
    zeros = [torch.zeros(2, 3), torch.zeros(3, 2), torch.zeros(2, 3, dtype=torch.int32), torch.tensor(0.0)]
    hashes = set()
    for tensor in zeros:
        holder = nn.Module()
        holder.register_buffer("buffer", tensor, persistent=False)
        hashes.add(state_hashes(holder)["buffer"])
    assert len(hashes) == 4


def test_a_selection_of_another_network_is_a_mistake(resnet):
    other = Selection(frozenset(), frozenset({"fc.weight", "head.weight"}), frozenset({"norm"}))
    with pytest.raises(ValueError, match=r"not in the network: head[.]weight, norm"):
        hold(resnet, other)


@pytest.mark.parametrize(("frozen", "depth"), [({1, 2}, 0), ({0, 1, 3}, 2)])
def test_cut_out_units_compute_what_they_did(network, pictures, frozen, depth):
    model = hold(network, select(network, frozen))
    assert model.depth == depth
    assert torch.equal(model.eval()(pictures), network.eval()(pictures))


def test_a_selection_can_be_of_nothing(resnet):
    model = hold(resnet, Selection(frozenset(), frozenset(), frozenset()))
    assert model.depth == 9
    assert not any(parameter.requires_grad for parameter in resnet.parameters())


def test_phases_take_turns(resnet, pictures):
    """Probe, then everything, then the probe again: each time exactly what is selected learns."""
    for frozen in (range(9), (), {1, 3}, range(9)):
        selection = select(resnet, frozen)
        model = hold(resnet, selection).train()
        assert {n for n, p in resnet.named_parameters() if p.requires_grad} == selection.parameters
        norms = {n for n, m in resnet.named_modules() if isinstance(m, nn.BatchNorm2d) and m.training}
        assert norms == selection.moving
        step(model, resnet, pictures)
    thaw(resnet)
    assert all(parameter.requires_grad for parameter in resnet.parameters())


def test_a_copy_of_the_held_model_holds_on_its_own(network, pictures):
    """An average of the weights is a copy."""
    model = hold(network, select(network, {0, 2, 3})).train()
    twin = copy.deepcopy(model)
    torch.manual_seed(3)
    ours = model.train()(pictures)
    torch.manual_seed(3)
    assert torch.equal(twin.train()(pictures), ours)
    assert twin.eval()(pictures).equal(model.eval()(pictures))
    shared = {id(tensor) for tensor in [*model.parameters(), *model.buffers()]}
    assert not shared & {id(tensor) for tensor in [*twin.parameters(), *twin.buffers()]}
