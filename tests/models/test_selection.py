import copy
import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests_networks import Small
from timm.layers import BatchNormAct2d, GroupNormAct, RmsNorm
from torch import nn
from torch.nn import functional
from torchvision.models.convnext import LayerNorm2d
from torchvision.ops import FrozenBatchNorm2d

from thawline.config.errors import UserError
from thawline.config.sections import BatchNorm, Finetune, Method
from thawline.models.adapters.adapt import adapt
from thawline.models.adapters.adaptation import adaptation_of
from thawline.models.adapters.added import added_parameters
from thawline.models.cuts import divide, units
from thawline.models.freezing import hold, state_hashes
from thawline.models.head import head_parameters, replace_head
from thawline.models.selection import Selection, quiet_units, require_learning, select

ADDED = (Method.scale_shift, Method.lora)
HEAD = {"head.weight", "head.bias"}


class Varied(nn.Module):
    """Units `stem`, `blocks.0` and `blocks.1`; two have BatchNorm, one GroupNorm, all have biases."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8))
        self.blocks = nn.Sequential(
            nn.Sequential(nn.Conv2d(8, 8, 1), nn.GroupNorm(2, 8)),
            nn.Sequential(nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)),
        )
        self.dropout = nn.Dropout(0.1)
        self.head = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.tanh(self.stem(x))
        for block in self.blocks:
            x = torch.tanh(x + self.dropout(block(x)))
        return self.head(functional.dropout(x.mean((2, 3)), 0.1, self.training))


CONVOLUTIONS = ("stem.0", "blocks.0.0", "blocks.1.0")
NORMALISATIONS = ("stem.1", "blocks.0.1", "blocks.1.1")
BATCH_NORM = {0: "stem.1", 2: "blocks.1.1"}


def varied(method: Method = Method.full, frozen: frozenset[int] = frozenset()) -> nn.Module:
    torch.manual_seed(0)
    network = Varied().double()
    if method in (*ADDED, Method.adapter):
        adaptation = adaptation_of(Finetune(method=method), frozen)
        assert adaptation is not None
        adapt(network, adaptation, seed=0)
    return network


def of(*layers: str) -> set[str]:
    return {f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")}


def test_all_but_the_frozen_units_learns_by_default(network):
    names = {name for name, _ in network.named_parameters()}
    whole = units(network)
    for frozen in ({0}, {1, 2}, set(range(len(whole)))):
        kept = {name for index in frozen for name in whole[index].parameters}
        assert select(network, frozen).parameters == names - kept


def test_moving_are_the_batch_norm_layers_of_unfrozen_units(resnet):
    assert select(resnet, range(8)).moving == {"layer4.1.bn1", "layer4.1.bn2"}


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (Method.full, of("blocks.0.0", "blocks.0.1", "blocks.1.0", "blocks.1.1")),
        (Method.bias, {"blocks.0.0.bias", "blocks.0.1.bias", "blocks.1.0.bias", "blocks.1.1.bias"}),
        (Method.norm, of("blocks.0.1", "blocks.1.1")),
    ],
)
def test_the_method_says_what_learns_in_unfrozen_units(method, expected):
    assert select(varied(), {0}, method=method).parameters == expected | HEAD


@pytest.mark.parametrize("method", [*ADDED, Method.adapter])
def test_of_an_adapted_network_what_was_added_learns_and_nothing_else(method):
    network = varied(method, frozenset({0}))
    selection = select(network, {0}, method=method)
    assert selection.parameters == added_parameters(network) | HEAD
    assert not any("original" in name for name in selection.parameters)


def test_added_in_a_frozen_unit_does_not_learn():
    network = varied(Method.lora)
    learning = select(network, {0, 1}, method=Method.lora).parameters
    assert {name[:9] for name in learning - HEAD} == {"blocks.1."}


def test_attention_has_biases_of_other_names():
    network = nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.Linear(8, 2))
    learning = select(network, (), method=Method.bias).parameters
    assert {"0.self_attn.in_proj_bias", "0.self_attn.out_proj.bias", "0.norm1.bias"} <= learning
    assert not {name for name in learning if name.endswith("weight")} - {"1.weight"}


@pytest.mark.parametrize(
    "layer",
    [
        nn.BatchNorm2d(8),
        nn.SyncBatchNorm(8),
        nn.GroupNorm(2, 8),
        nn.LayerNorm((8, 5, 5)),
        nn.InstanceNorm2d(8, affine=True),
        nn.RMSNorm((8, 5, 5)),
        LayerNorm2d(8),
        BatchNormAct2d(8),
        GroupNormAct(8, 2),
        RmsNorm(5),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_scale_and_shift_of_every_normalisation_learn(layer):
    network = nn.Sequential(nn.Conv2d(3, 8, 1), layer, nn.Flatten(), nn.Linear(200, 2))
    names = {f"1.{name}" for name, _ in layer.named_parameters()}
    assert names
    assert select(network, (), method=Method.norm).parameters == names | {"3.weight", "3.bias"}


POLICIES = {
    BatchNorm.frozen: (False, False),
    BatchNorm.statistics: (False, True),
    BatchNorm.affine: (True, False),
    BatchNorm.train: (True, True),
}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("method", [Method.full, Method.bias])
def test_batch_norm_in_frozen_units_follows_its_policy_whatever_the_method(policy, method):
    learns, moves = POLICIES[policy]
    selection = select(varied(), {0, 1}, method=method, frozen_batch_norm=policy)
    assert of("stem.1") & selection.parameters == (of("stem.1") if learns else set())
    assert ("stem.1" in selection.moving) is moves
    assert not of("blocks.0.1", "stem.0") & selection.parameters


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("method", [Method.full, Method.bias])
def test_batch_norm_in_unfrozen_units_learns_if_policy_and_method_let_it(policy, method):
    learns, moves = POLICIES[policy]
    everything = select(varied(), {0, 1}, method=method).parameters
    selection = select(varied(), {0, 1}, method=method, batch_norm=policy)
    assert everything - selection.parameters == (set() if learns else of("blocks.1.1") & everything)
    assert selection.moving == ({"blocks.1.1"} if moves else set())


def test_layers_without_estimates_never_move():
    norms = [nn.BatchNorm2d(8, track_running_stats=False), nn.InstanceNorm2d(8, affine=True)]
    network = nn.Sequential(nn.Conv2d(3, 8, 1), *norms, FrozenBatchNorm2d(8), nn.Flatten(), nn.Linear(8, 2))
    assert not select(network, ()).moving
    fixed = select(network, (), batch_norm=BatchNorm.frozen)
    assert of("2") <= fixed.parameters, "a policy for BatchNorm says nothing about InstanceNorm"
    assert not of("1") & fixed.parameters


@pytest.mark.parametrize(
    ("frozen", "options", "expected"),
    [
        ((), {}, 0),
        ({0, 1}, {}, 2),
        ({0, 2}, {}, 1),
        ({1, 2}, {}, 0),
        ({0, 1, 2}, {}, 3),
        ({0, 1, 2}, {"frozen_batch_norm": BatchNorm.statistics}, 0),
        ({0, 1, 2}, {"frozen_batch_norm": BatchNorm.affine}, 0),
        ({0}, {"frozen_batch_norm": BatchNorm.train}, 0),
    ],
)
def test_quiet_are_the_leading_units_in_which_nothing_changes(frozen, options, expected):
    network = varied()
    assert quiet_units(divide(network), select(network, frozen, **options)) == expected


def test_an_unfrozen_unit_in_which_nothing_can_learn_is_quiet():
    network = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4), nn.Linear(4, 2))
    assert quiet_units(divide(network), select(network, (), method=Method.bias)) == 1


class WithBranch(nn.Module):
    """An auxiliary head while training, off the first of three units."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third, self.head = (nn.Linear(4, 4) for _ in range(4))
        self.branch = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))

    def forward(self, x):
        x = self.first(x)
        auxiliary = self.branch(x) if self.training else None
        x = self.head(self.third(self.second(x)))
        return (x, auxiliary) if self.training else x


def test_an_auxiliary_branch_counts_as_not_frozen():
    network = WithBranch()
    branch, head = of("branch.0", "branch.1"), of("branch.2", "head")
    full = select(network, {1, 2})
    assert full.parameters == branch | head | of("first")
    assert full.moving == {"branch.1"}
    bias = select(network, {1, 2}, method=Method.bias, batch_norm=BatchNorm.frozen)
    assert bias.parameters == head | {"first.bias", "branch.0.bias"}
    assert not bias.moving


def test_an_auxiliary_branch_inside_the_quiet_units_is_idle_with_its_head():
    selection = select(WithBranch(), {0, 1})
    assert selection.parameters == of("third", "head")
    assert not selection.moving
    assert of("branch.2") <= select(WithBranch(), {0}).parameters, "it reads what the prefix hands over"


def test_what_never_learned_does_not_learn_now():
    network = varied()
    network.stem[0].weight.requires_grad_(False)
    for _ in range(2):
        selection = select(network, ())
        assert "stem.0.weight" not in selection.parameters
        assert "stem.0.bias" in selection.parameters
        hold(network, dataclasses.replace(selection, parameters=frozenset()))


def test_what_is_held_now_can_be_selected_again():
    network = varied()
    hold(network, select(network, {0, 1, 2}))
    assert select(network, ()) == select(varied(), ())


def test_an_index_beyond_the_units_is_a_mistake():
    with pytest.raises(ValueError, match=r"no units \[3, 7\] to freeze: indices go from 0 to 2"):
        select(varied(), {0, 3, 7})


def test_selecting_changes_nothing():
    network = varied()
    before = copy.deepcopy(network).state_dict()
    select(network, {1}, frozen_batch_norm=BatchNorm.train)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert all(module.training for module in network.modules())


def expected_by_the_rules(
    network: nn.Module, frozen: frozenset[int], method: Method, kept: BatchNorm, other: BatchNorm
) -> tuple[set[str], set[str]]:
    """What learns and which layers move in `Varied`, spelled out unit by unit."""
    learning, moving = set(HEAD), set()
    for index, (convolution, norm) in enumerate(zip(CONVOLUTIONS, NORMALISATIONS, strict=True)):
        policy = kept if index in frozen else other
        of_unit = {
            name for name, _ in network.named_parameters() if name.startswith((f"{convolution}.", f"{norm}."))
        }
        by_method = {
            Method.full: of_unit,
            Method.bias: {name for name in of_unit if name.endswith("bias")},
            Method.norm: {name for name in of_unit if name.startswith(norm)},
        }
        added = of_unit & added_parameters(network)
        chosen = set() if index in frozen else by_method.get(method, added)
        if index in BATCH_NORM:
            learns, moves = POLICIES[policy]
            affine = {name for name in of_unit if name.startswith(norm)}
            chosen = (
                (chosen | (affine if index in frozen else set())) if learns else chosen - (affine - added)
            )
            moving |= {norm} if moves else set()
        learning |= chosen
    return learning, moving


@given(
    frozen=st.frozensets(st.integers(0, 2)),
    method=st.sampled_from([Method.full, Method.bias, Method.norm, *ADDED]),
    kept=st.sampled_from(BatchNorm),
    other=st.sampled_from(BatchNorm),
    optimizer=st.sampled_from(["sgd", "adamw"]),
)
@settings(max_examples=15, deadline=None)
def test_exactly_the_selected_changes(frozen, method, kept, other, optimizer):
    """Even with an optimizer that has every parameter, and moved them all before."""
    network = varied(method, frozen)
    make = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}[optimizer]
    momentum = {"momentum": 0.9} if optimizer == "sgd" else {}
    everything = make(network.parameters(), lr=0.01, weight_decay=0.1, **momentum)
    steps(network.train(), everything, 1)
    selection = select(network, frozen, method=method, frozen_batch_norm=kept, batch_norm=other)
    learning, moving = expected_by_the_rules(network, frozen, method, kept, other)
    assert selection == Selection(frozen, frozenset(learning), frozenset(moving))
    model = hold(network, selection)
    before = state_hashes(network)
    steps(model.train(), everything, 2)
    after = state_hashes(network)
    statistics = {f"{path}.{name}" for path in moving for name in STATISTICS}
    assert {name for name in before if before[name] != after[name]} == learning | statistics
    for name, parameter in network.named_parameters():
        assert (parameter.grad is not None) is (parameter.requires_grad) is (name in learning)


STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def steps(model: nn.Module, optimizer: torch.optim.Optimizer, count: int) -> None:
    generator = torch.Generator().manual_seed(count)
    for _ in range(count):
        optimizer.zero_grad()
        pictures = torch.randn(6, 3, 9, 9, dtype=torch.float64, generator=generator)
        functional.cross_entropy(model(pictures), torch.arange(6) % 4).backward()
        optimizer.step()


@pytest.mark.parametrize("method", [Method.norm, Method.bias])
def test_a_method_that_finds_nothing_in_unfrozen_units_is_refused(resnet, method):
    require_learning(resnet, {0}, method=method)
    message = rf"(?s)method = {method.name} with batch_norm = frozen finds nothing .* 8 unfrozen .* Narrow"
    with pytest.raises(UserError, match=message + ".*finetune.batch_norm=train.*finetune=linear_probe"):
        require_learning(resnet, {0}, method=method, batch_norm=BatchNorm.frozen)
    require_learning(resnet, range(9), method=method, batch_norm=BatchNorm.frozen)
    train = {"frozen_batch_norm": BatchNorm.affine, "batch_norm": BatchNorm.frozen}
    require_learning(resnet, {0}, method=method, **train)


def test_another_policy_is_advised_only_where_it_helps():
    network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))
    for policy in (BatchNorm.frozen, BatchNorm.train):
        with pytest.raises(UserError, match=r"Choose another method, a smaller depth, or finetune=linear"):
            require_learning(network, (), method=Method.norm, batch_norm=policy)
    require_learning(network, (), method=Method.bias)
    require_learning(network, (), method=Method.full, batch_norm=BatchNorm.frozen)


@pytest.mark.parametrize("method", [*ADDED, Method.adapter])
def test_a_method_that_could_add_nothing_is_refused(method):
    with pytest.raises(UserError, match=f"method = {method.name} with .* finds nothing"):
        require_learning(varied(), {0}, method=method)
    require_learning(varied(method), {0}, method=method)


@pytest.mark.parametrize("method", [Method.norm])
def test_new_heads_always_learn(resnet, method):
    target, accounting = replace_head(resnet, 3, seed=0)
    selection = select(target, range(9), method=method)
    assert selection.parameters == head_parameters(target) == set(accounting["initialised"])
    assert select(Small(3), range(3), method=method).parameters == HEAD
