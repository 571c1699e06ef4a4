import pytest
import torch
from tests_networks import Small, freeze
from torch import nn

from thawline.config.choices import HeadVariant
from thawline.config.errors import UserError
from thawline.models.accounting import account
from thawline.models.cuts import divide, divide_anew, units
from thawline.models.freezing import state_hashes
from thawline.models.head import head_names, head_parameters, replace_head, with_fresh_head
from thawline.models.zoo import build


def test_the_body_is_copied_and_the_head_is_new(network, pictures):
    before = state_hashes(network)
    target, accounting = replace_head(network, 7, seed=0)
    after = state_hashes(target)
    assert all(after[name] == before[name] for name in accounting["copied"])
    assert len(accounting["dropped"]) == len(accounting["initialised"]) == 2
    assert target.eval()(pictures).shape == (3, 7)
    assert state_hashes(network) == before


def test_every_tensor_is_accounted_for(network):
    target, accounting = replace_head(network, 7, seed=0)
    assert sorted(accounting["copied"] + accounting["dropped"]) == sorted(network.state_dict())
    assert sorted(accounting["copied"] + accounting["initialised"]) == sorted(target.state_dict())


def test_a_head_of_the_same_size_is_replaced_all_the_same(resnet):
    target, accounting = replace_head(resnet, 5, seed=0)
    assert accounting["dropped"] == accounting["initialised"] == ["fc.bias", "fc.weight"]
    assert not torch.equal(target.fc.weight, resnet.fc.weight)


def test_the_bias_starts_at_zero_and_the_weight_like_any_layer(resnet):
    target, _ = replace_head(resnet, 400, seed=0)
    bound = resnet.fc.in_features**-0.5
    weight = target.fc.weight.detach()
    assert not target.fc.bias.any()
    assert weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)


def test_the_seed_decides_the_head_and_nothing_else(resnet):
    state = torch.get_rng_state()
    one, again, other = (replace_head(resnet, 7, seed=seed)[0] for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one.fc.weight, again.fc.weight)
    assert not torch.equal(one.fc.weight, other.fc.weight)
    assert torch.equal(one.conv1.weight, other.conv1.weight)


@pytest.mark.parametrize(
    ("variant", "tensors"),
    [
        (HeadVariant.linear, {"fc.weight", "fc.bias"}),
        (HeadVariant.dropout_linear, {"fc.1.weight", "fc.1.bias"}),
        (HeadVariant.mlp, {"fc.0.weight", "fc.0.bias", "fc.2.weight", "fc.2.bias"}),
    ],
)
def test_variants_of_the_head_count_as_one_layer(resnet, pictures, variant, tensors):
    target, accounting = replace_head(resnet, 7, 0, variant)
    assert set(accounting["initialised"]) == tensors == head_parameters(target)
    assert head_names(target) == ("fc",)
    assert [unit.name for unit in units(target)] == [unit.name for unit in units(resnet)]
    assert target.eval()(pictures).shape == (3, 7)
    assert replace_head(target, 3, 0)[0].eval()(pictures).shape == (3, 3)


@pytest.mark.parametrize("variant", list(HeadVariant))
def test_a_convolution_as_head_is_replaced_by_one(pictures, variant):
    target, accounting = replace_head(build("squeezenet1_1", 5, seed=0).double(), 7, 0, variant)
    assert accounting["dropped"] == ["classifier.1.bias", "classifier.1.weight"]
    assert target.eval()(pictures).shape == (3, 7)


def test_auxiliary_heads_are_replaced_too():
    source = build("googlenet", 5, seed=0, aux_logits=True, init_weights=False)
    target, accounting = replace_head(source, 7, seed=0)
    assert head_names(target) == ("fc", "aux2.fc2", "aux1.fc2")
    layers = ("aux1.fc2", "aux2.fc2", "fc")
    assert accounting["initialised"] == [f"{name}.{kind}" for name in layers for kind in ("bias", "weight")]
    assert target.aux1.fc2.out_features == target.aux2.fc2.out_features == 7
    assert torch.equal(target.aux1.fc1.weight, source.aux1.fc1.weight)


def test_a_new_head_has_the_bodys_type_and_mode(resnet):
    target, _ = replace_head(resnet.half().eval(), 7, seed=0, variant=HeadVariant.mlp)
    assert target.fc[0].weight.dtype is torch.float16
    assert not target.fc.training


def test_the_target_of_a_frozen_source_is_not_frozen(resnet):
    freeze(resnet, 9)
    target, _ = replace_head(resnet, 7, seed=0)
    assert all(parameter.requires_grad for parameter in target.parameters())
    assert not resnet.conv1.weight.requires_grad


def test_an_alias_of_the_head_does_not_keep_the_old_one():
    class Aliased(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 5)
            self.classifier = self.head

        def forward(self, x):
            return self.classifier(x)

    target, accounting = replace_head(nn.Sequential(nn.Linear(4, 4), Aliased()), 7, seed=0)
    assert target[1].head is target[1].classifier
    assert len(accounting["initialised"]) == 4
    assert accounting["copied"] == ["0.bias", "0.weight"]


@pytest.mark.parametrize("variant", list(HeadVariant))
def test_fresh_heads_are_those_replacement_would_make(variant):
    network = Small(5)
    target, _ = replace_head(network, 7, 1, variant)
    before = divide(target)
    expected = state_hashes(replace_head(network, 7, 2, variant)[0])
    assert state_hashes(with_fresh_head(target, 2)) == expected
    kept, anew = divide(target), divide_anew(target)
    assert kept is before
    assert str(kept.trace.main) == str(anew.trace.main)
    assert (kept.units, kept.positions, kept.head) == (anew.units, anew.positions, anew.head)


def test_a_head_that_shared_its_weight_leaves_a_network_of_other_units():
    network = nn.Sequential(*(nn.Linear(4, 4) for _ in range(3)))
    network[2].weight = network[0].weight
    assert units(network) == ()
    assert [unit.name for unit in units(with_fresh_head(network, 1))] == ["0", "1"]


def test_several_output_layers_are_refused():
    class Average(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 5), nn.Linear(4, 5)

        def forward(self, x):
            x = self.body(x)
            return (self.one(x) + self.two(x)) / 2

    with pytest.raises(UserError, match=r"several output layers \(one, two\)"):
        replace_head(Average(), 7, seed=0)


def test_an_output_layer_of_another_kind_is_refused():
    class Prototypes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.centres = nn.Parameter(torch.randn(5, 4))

        def forward(self, x):
            return -torch.cdist(x, self.centres) if x.sum() > 0 else x

    with pytest.raises(UserError, match="output layer '1' is a Prototypes, which cannot be replaced"):
        replace_head(nn.Sequential(nn.Linear(4, 4), Prototypes()), 7, seed=0)


def test_accounting_refuses_what_is_neither_copied_nor_a_head():
    source = {"a.weight": torch.zeros(2, 3), "b": torch.zeros(1), "head.bias": torch.zeros(2)}
    target = {"a.weight": torch.zeros(2, 4), "c": torch.zeros(1), "head.bias": torch.zeros(9)}
    lists = r"""missing, [+] unexpected\):
  - a.weight \(2, 4\)
  - c \(1,\)
  [+] a.weight \(2, 3\)
  [+] b \(1,\)$"""
    with pytest.raises(UserError, match=lists):
        account(source, target, ["head"])


def test_accounting_does_not_take_a_prefix_of_a_name_for_the_head():
    tensors = {"head.weight": torch.zeros(1), "header.weight": torch.zeros(1), "head": torch.zeros(1)}
    accounting = account(tensors, tensors, ["head"])
    assert accounting["copied"] == ["header.weight"]
    assert accounting["dropped"] == accounting["initialised"] == ["head", "head.weight"]
