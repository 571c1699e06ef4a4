"""What a naive freezing (`requires_grad = False` and an optimizer) gets wrong."""

import copy

import pytest
import torch
from tests_networks import Small, freeze
from torch import nn

from thawline.config.sections import BatchNorm, Finetune
from thawline.models.freezing import hold, state_hashes, thaw
from thawline.models.selection import select
from thawline.models.splitting import split
from thawline.training.parameter_groups import learning_groups


def small(**options) -> tuple[nn.Module, nn.Module]:
    """The network and the same network with its first two of three units frozen."""
    torch.manual_seed(0)
    network = Small(4).double()
    return network, hold(network, select(network, {0, 1}, **options))


def statistics(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: buffer.clone() for name, buffer in network.named_buffers()}


def drifted(network: nn.Module, before: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, now in network.named_buffers() if not torch.equal(now, before[name])}


@pytest.mark.parametrize("policy", [BatchNorm.frozen, BatchNorm.affine])
def test_batch_norm_statistics_drift_in_the_frozen_prefix(pictures, policy):
    network, model = small(frozen_batch_norm=policy)
    before = statistics(network)
    for caller in (model, network):
        caller.train()
        model(pictures)
        network(pictures)
    assert {name.rpartition(".")[0] for name in drifted(network, before)} == {"blocks.1.norm"}


def test_statistics_of_frozen_units_drift_where_that_is_asked_for(pictures):
    network, model = small(frozen_batch_norm=BatchNorm.statistics)
    before = statistics(network)
    model.eval()(pictures)
    assert not drifted(network, before)
    model.train()(pictures)
    assert len(drifted(network, before)) == 9


def test_the_frozen_part_normalises_by_the_batch(pictures):
    network, model = small()
    frozen_part = split(copy.deepcopy(network).eval(), 2)[0]
    model.train()
    assert torch.equal(model.features(pictures), frozen_part(pictures))
    assert torch.equal(model.features(pictures)[:1], model.features(pictures[:1]))


def test_frozen_batch_norm_normalises_by_the_batch_where_that_is_asked_for(pictures):
    network, model = small(frozen_batch_norm=BatchNorm.statistics)
    assert network.stem[1].weight.requires_grad is False
    network.stem[1].running_mean.fill_(100)
    model.eval()
    assert network.stem(pictures).mean((0, 2, 3)).abs().min() > 1
    model.train()
    assert network.stem(pictures).mean((0, 2, 3)).abs().max() < 1e-6


def test_batch_norm_of_unfrozen_units_can_keep_its_statistics(pictures):
    network, model = small(batch_norm=BatchNorm.affine)
    before = statistics(network)
    for caller in (model, network):
        caller.train()
        model(pictures)
    assert not drifted(network, before)
    assert network.blocks[1].norm.weight.requires_grad


def test_fresh_batch_norm_parameters_are_lost_on_unfreezing(pictures):
    """Every BatchNorm layer starts with the same ones and zeros: told apart by value, they are one."""
    network, _ = small()
    recipe = Finetune(body_lr=0.1, head_lr=0.1)
    first = {id(tensor) for group in learning_groups(network, recipe) for tensor in group.parameters}
    model = hold(network, select(network, ())).train()
    grouped = [tensor for group in learning_groups(network, recipe) for tensor in group.parameters]
    later = {name for name, tensor in network.named_parameters() if id(tensor) not in first}
    assert {"stem.1.weight", "stem.1.bias", "blocks.0.norm.weight", "blocks.0.norm.bias"} <= later
    assert {id(tensor) for tensor in grouped} == {id(tensor) for tensor in network.parameters()}
    before = state_hashes(network)
    optimizer = torch.optim.SGD(grouped, 0.1)
    (model(pictures) - 1).square().sum().backward()
    optimizer.step()
    after = state_hashes(network)
    assert all(before[name] != after[name] for name in later)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_momentum_moves_weights_after_freezing(pictures, optimizer):
    network, _ = small()
    model = hold(network, select(network, ())).train()
    if optimizer == "sgd":
        moves = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9, weight_decay=0.1)
    else:
        moves = torch.optim.AdamW(network.parameters(), 0.1, weight_decay=0.1)
    for _ in range(3):
        moves.zero_grad()
        model(pictures).square().sum().backward()
        moves.step()
    assert network.stem[0].weight.grad is not None
    model = hold(network, select(network, {0, 1})).train()
    frozen = {name for name in state_hashes(network) if name.startswith(("stem", "blocks.0"))}
    before = state_hashes(network)
    moves.step()  # what is left of the last gradients
    for _ in range(3):
        moves.zero_grad(set_to_none=False)
        model(pictures).square().sum().backward()
        moves.step()
    after = state_hashes(network)
    assert {name for name in before if before[name] == after[name]} == frozen


def test_what_thaws_later_stays_in_evaluation_mode(resnet):
    """Nobody calls `.train()` between two phases."""
    model = freeze(resnet.train(), 9)
    model.eval()
    model.train()
    freeze(resnet, 0)
    assert all(module.training for module in resnet.modules())
    resnet.eval()
    thaw(resnet)
    assert not any(module.training for module in resnet.modules())
