"""Every method that adds something, on every kind of network."""

import copy

import pytest
import torch
from tests_networks import SMALLEST, Small
from torch import nn
from torchvision.models import get_model_builder

from thawline.config.errors import UserError
from thawline.config.sections import Finetune, Method
from thawline.models.adapters.adapt import adapt, adaptation_in, merge
from thawline.models.adapters.adaptation import Adaptation, adaptation_of
from thawline.models.adapters.added import added_parameters
from thawline.models.adapters.weights import plain_name
from thawline.models.cuts import divide, units
from thawline.models.freezing import state_hashes
from thawline.models.head import head_parameters, with_fresh_head
from thawline.models.splitting import part
from thawline.models.zoo import architectures, build

EXACT = [Method.scale_shift, Method.lora, Method.adapter]


def adaptation(method: Method, *frozen: int) -> Adaptation:
    found = adaptation_of(Finetune(method=method, lora_rank=2, adapter_width=3, prompt_tokens=2), frozen)
    assert found is not None
    return found


def disturb(network: nn.Module) -> nn.Module:
    """As if it had been trained: what was added is no longer an identity."""
    generator = torch.Generator().manual_seed(5)
    added = added_parameters(network)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name in added:
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
    return network


@pytest.fixture
def network(network):
    return with_fresh_head(network, 3).eval()  # some are built with a head of zeros


@pytest.mark.parametrize(
    "network",
    [
        *("squeezenet1_1", "vit", "swin"),
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("resnet18", "mobilenet_v3", "convnext")),
    ],
    indirect=True,
)
def test_at_first_adapters_change_nothing_and_afterwards_everything_still_fits(network, pictures):
    changes_nothing_at_first(network, pictures, Method.adapter)


@pytest.mark.parametrize("network", ["densenet", "vit"], indirect=True)
@pytest.mark.parametrize("method", [Method.scale_shift, Method.lora])
def test_so_do_changes_of_weights(network, pictures, method):
    changes_nothing_at_first(network, pictures, method)


@torch.no_grad()
def changes_nothing_at_first(network, pictures, method):
    expected, before = network(pictures), units(network)
    tensors = {name: tensor.data_ptr() for name, tensor in network.state_dict().items()}
    adapt(network, adaptation(method, 0), seed=1)
    assert torch.equal(network(pictures), expected)
    assert tensors.items() <= {plain_name(n): t.data_ptr() for n, t in network.state_dict().items()}.items()

    found, added = units(network), added_parameters(network)
    assert [unit.name for unit in found] == [unit.name for unit in before]
    assert added
    assert added == {name for unit in found[1:] for name in unit.parameters if name in added}
    assert not added & head_parameters(network)

    changed = disturb(network)(pictures)
    assert not torch.allclose(changed, expected)
    whole, features = divide(network), pictures
    for depth in range(len(found)):
        features = part(whole, depth, depth + 1)(features)
    assert torch.equal(part(whole, len(found))(features), changed)
    assert torch.equal(copy.deepcopy(network)(pictures), changed)


@pytest.mark.parametrize("network", ["densenet", "vit"], indirect=True)
@pytest.mark.parametrize("method", [Method.scale_shift, Method.lora])
@torch.no_grad()
def test_merging_makes_the_network_plain_and_changes_nothing(network, pictures, method):
    before = {name: tensor.shape for name, tensor in network.state_dict().items()}
    kinds = [type(module) for module in network.modules()]
    changed = disturb(adapt(network, adaptation(method), seed=1))(pictures)
    twin = copy.deepcopy(network)
    assert merge(network) is network
    assert torch.equal(network(pictures), changed)
    assert {name: tensor.shape for name, tensor in network.state_dict().items()} == before
    assert [type(module) for module in network.modules()] == kinds
    assert adaptation_in(network) is None
    assert torch.equal(twin(pictures), changed), "merging one copy left the other as it was"


def test_adapters_cannot_be_merged(pictures):
    network = Small(3).double().eval()
    changed = disturb(adapt(network, adaptation(Method.adapter), seed=1))(pictures)
    assert torch.equal(merge(network)(pictures), changed)
    assert adaptation_in(network) == adaptation(Method.adapter)


@pytest.mark.parametrize("network", ["swin"], indirect=True)
def test_only_unfrozen_units_get_something(network):
    found = units(network)
    learning = {2, 5}
    frozen = set(range(len(found))) - learning
    for method in EXACT:
        twin = adapt(copy.deepcopy(network), adaptation(method, *frozen), seed=0)
        added = added_parameters(twin)
        assert {unit.index for unit in units(twin) if added & set(unit.parameters)} == learning
    assert not added_parameters(adapt(network, adaptation(Method.adapter, *range(len(found))), seed=0))


@pytest.mark.parametrize("method", [Method.lora, Method.adapter])
def test_the_seed_decides_and_no_other_random_number_is_drawn(method):
    plain = Small(3)
    state = torch.get_rng_state()
    hashes = [state_hashes(adapt(copy.deepcopy(plain), adaptation(method), seed=seed)) for seed in (1, 1, 2)]
    assert torch.equal(torch.get_rng_state(), state)
    assert hashes[0] == hashes[1] != hashes[2]


def test_what_is_adapted_is_not_adapted_again():
    network = adapt(Small(3), adaptation(Method.lora), seed=0)
    with pytest.raises(UserError, match=r"(?s)Small was adapted before: it has .*full, bias, norm"):
        adapt(network, adaptation(Method.scale_shift), seed=0)


@pytest.mark.parametrize("network", ["densenet", "vit"], indirect=True)
@pytest.mark.parametrize("method", EXACT)
def test_gradients_reach_all_that_was_added(network, pictures, method):
    adapt(network, adaptation(method), seed=1)
    disturb(network)(pictures).square().sum().backward()
    added = added_parameters(network)
    without = [
        n for n, p in network.named_parameters() if n in added and (p.grad is None or not p.grad.any())
    ]
    assert without == []


@pytest.mark.slow
@torch.no_grad()
def test_a_network_with_auxiliary_heads_is_adapted_in_both_of_its_ways():
    network = build("googlenet", 3, seed=0, aux_logits=True)
    network.eval()
    pictures = torch.randn(2, 3, 64, 64)
    expected = network(pictures)
    adapt(network, adaptation(Method.adapter), seed=0)
    assert torch.equal(network(pictures), expected)
    changed = disturb(network)(pictures)
    assert not torch.allclose(changed, expected)
    network.train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.Dropout):
            module.eval()
    torch.testing.assert_close(network(pictures).logits, changed)
    assert len(network(pictures)) == 3


def test_every_family_of_builders_is_among_them():
    def family(name):
        return get_model_builder(name).__module__

    assert {family(name) for name in SMALLEST} == {family(name) for name in architectures()}


@pytest.mark.slow
@pytest.mark.parametrize("architecture", SMALLEST)
def test_the_smallest_of_every_family_takes_adapters_and_keeps_its_units(architecture, monkeypatch):
    for name in (
        "uniform_",
        "normal_",
        "trunc_normal_",
        "kaiming_uniform_",
        "kaiming_normal_",
        "xavier_uniform_",
    ):
        monkeypatch.setattr(nn.init, name, lambda tensor, *_, **__: tensor)  # memory nobody writes to
    network = build(architecture, 5)
    before = units(network)
    adapt(network, adaptation(Method.adapter, 0), seed=0)
    after, added = units(network), added_parameters(network)
    assert [unit.name for unit in after] == [unit.name for unit in before]
    holding = [unit for unit in after if added & set(unit.parameters)]
    assert holding == list(after[1:])
    assert sum(len(unit.parameters) for unit in after) - len(added) == sum(len(u.parameters) for u in before)


def test_a_network_that_takes_no_picture_is_refused():
    class Rigid(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1)
            self.head = nn.Linear(4 * 700 * 700, 2)

        def forward(self, images):
            return self.head(self.conv(images).flatten(1))

    with torch.device("meta"):
        network = Rigid()
    with pytest.raises(UserError, match=r"(?s)Rigid takes no square pictures of up to 640.*such as lora"):
        adapt(network, adaptation(Method.adapter), seed=0)


def test_adapters_suit_what_their_unit_hands_over():
    class Layouts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.maps = nn.Conv2d(3, 8, 4, stride=4)  # as many channels as rows, for pictures of 32
            self.last = nn.Linear(8, 6)
            self.row = nn.Linear(6, 5)
            self.head = nn.Linear(5, 2)

        def forward(self, images):
            features = self.last(torch.permute(torch.relu(self.maps(images)), (0, 2, 3, 1)))
            return self.head(self.row(features.mean((1, 2))).relu())

    network = adapt(Layouts(), adaptation(Method.adapter), seed=0)
    shapes = [tuple(adapter.down.weight.shape) for adapter in network.adapters.values()]
    assert shapes == [(3, 8), (3, 6), (3, 5)]
    assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 2)
