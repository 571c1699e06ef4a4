"""A head on several cuts reads what leading units hand over, in every kind of network that has cuts."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests_networks import Small, freeze
from torch import nn

from thawline.config.choices import HeadVariant
from thawline.config.errors import UserError
from thawline.config.sections import Finetune, Method
from thawline.data.transform import Transform
from thawline.models.adapters.adapt import adapt
from thawline.models.adapters.adaptation import adaptation_of
from thawline.models.card import ModelCard
from thawline.models.checkpoint import build_random, load_model, save_model
from thawline.models.cuts import divide, units
from thawline.models.freezing import hold, state_hashes
from thawline.models.head import head_parameters, with_fresh_head
from thawline.models.head_cuts import cuts_read, read_cuts, side_by_side
from thawline.models.linear_head import linear_head
from thawline.models.selection import select
from thawline.models.splitting import part, split
from thawline.models.zoo import build

CARD = ModelCard(
    "tests_networks.Small",
    {},
    ("birch", "elm", "ash"),
    Transform(16, 16, 3, "crop", "bilinear", (0.5,) * 3, (0.25,) * 3),
    "a test",
)


def cuts_of(network: nn.Module) -> list[int]:
    """Three cuts, the last one among them."""
    last = len(units(network))
    return [max(1, last // 3), max(2, 2 * last // 3), last]


def pooled(network: nn.Module, depth: int, pictures: torch.Tensor) -> torch.Tensor:
    """(B, C) of what the first units make of pictures: Swin's and tokens have their channels last."""
    features = split(network, depth)[0].eval()(pictures)
    if features.dim() == 4 and "Swin" not in type(network).__name__:
        return features.mean((2, 3))
    return features.flatten(1, -2).mean(1) if features.dim() > 2 else features


def test_logits_are_linear_in_standardised_means_over_positions(
    network: nn.Module, pictures: torch.Tensor
) -> None:
    plain, depths = copy.deepcopy(network.eval()), cuts_of(network)
    several = read_cuts(network, depths, seed=1).eval()
    together, head = side_by_side(several), linear_head(several)
    assert together is not None
    assert head is not None
    columns = torch.cat([pooled(plain, depth, pictures) for depth in depths], 1)
    assert torch.allclose(several(pictures), head(columns))
    together.mean.copy_(columns.mean(0))
    together.scale.copy_(1 / (columns.std(0) + 1e-3))
    expected = head((columns - columns.mean(0)) / (columns.std(0) + 1e-3))
    assert torch.allclose(several(pictures), expected)


def test_units_and_tensors_of_the_body_stay(network: nn.Module) -> None:
    before, names = units(network), state_hashes(network)
    several = read_cuts(network, cuts_of(network), seed=1)
    assert [unit.name for unit in units(several)] == [unit.name for unit in before]
    heads, after = head_parameters(several), state_hashes(several)
    body = {name: value for name, value in after.items() if name in names and name not in heads}
    assert body == {name: value for name, value in names.items() if name not in heads}
    assert after.keys() - names.keys() == {"head_cuts.together.mean", "head_cuts.together.scale"}


def test_a_network_is_cut_in_two_before_its_heads_first_cut_and_at_the_end(
    network: nn.Module, pictures: torch.Tensor
) -> None:
    several = read_cuts(network, (first := cuts_of(network))[:2], seed=1).eval()
    whole, last = divide(several), len(units(several))
    for depth in {1, first[0], last}:
        prefix, suffix = (side.eval() for side in split(several, depth))
        assert torch.equal(suffix(prefix(pictures)), several(pictures))
    between = first[0] + 1
    assert whole.divisible(between) == first[0]
    with pytest.raises(ValueError, match=f"depths go to {first[0]}"):
        part(whole, between)


def test_frozen_units_behind_the_first_cut_stay_as_they_are(
    network: nn.Module, pictures: torch.Tensor
) -> None:
    several, depth = read_cuts(network, cuts_of(network)[:2], seed=1), cuts_of(network)[1]
    held = hold(several, select(several, range(depth))).train()
    assert held.depth == cuts_of(network)[0]
    frozen = {name for unit in units(several)[:depth] for name in (*unit.parameters, *unit.buffers)}
    before = state_hashes(several)
    optimizer = torch.optim.SGD([p for p in several.parameters() if p.requires_grad], 0.1)
    held(pictures).square().sum().backward()
    optimizer.step()
    changed = {name for name, value in state_hashes(several).items() if before[name] != value}
    assert not changed & (frozen | {"head_cuts.together.mean", "head_cuts.together.scale"})
    assert head_parameters(several) <= changed


def test_the_last_cut_alone_is_the_networks_own_head(network: nn.Module) -> None:
    before = state_hashes(network)
    for cuts in ([], [len(units(network))]):
        assert read_cuts(network, cuts, seed=1) is network
        assert cuts_read(network) == ()
    assert state_hashes(network) == before


@pytest.mark.parametrize(("cuts", "message"), [([0, 2], "counts from 1 to"), ([99], "counts from 1 to")])
def test_depths_that_are_no_cuts_are_refused(cuts: list[int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_cuts(Small(3), cuts, seed=0)


def test_auxiliary_heads_are_refused() -> None:
    network = build("googlenet", 3, aux_logits=True, init_weights=False)
    with pytest.raises(UserError, match="auxiliary heads"):
        read_cuts(network, [3], seed=0)


def test_a_fresh_head_is_decided_by_its_seed() -> None:
    one, same, other = (with_fresh_head(read_cuts(build_random(CARD, 1), [1], seed=5), s) for s in (1, 1, 2))
    assert state_hashes(one) == state_hashes(same)
    assert state_hashes(one) != state_hashes(other)


@pytest.mark.slow
def test_torch_export_follows_it(pictures: torch.Tensor, build_small_of_kind) -> None:
    several = read_cuts(build_small_of_kind("vit"), [1, 2], seed=1).eval()
    exported = torch.export.export(several, (pictures,))
    assert torch.allclose(exported.module()(pictures), several(pictures))


@pytest.mark.parametrize(
    ("variant", "method"),
    [
        (HeadVariant.linear, Method.full),
        (HeadVariant.dropout_linear, Method.adapter),
        (HeadVariant.linear, Method.lora),
    ],
)
def test_a_saved_model_is_what_differs_from_its_base(
    tmp_path: Path, variant: HeadVariant, method: Method
) -> None:
    given, base = replace(CARD, head=variant), tmp_path / "base.safetensors"
    save_model(base, tmp_path / "base.json", build_random(given, seed=1), given)
    network = read_cuts(load_model(base, tmp_path / "base.json")[0], [1], seed=3)
    together = side_by_side(network)
    assert together is not None
    together.mean += 1
    adaptation = adaptation_of(Finetune(method=method), {0})
    if adaptation is not None:
        network = adapt(network, adaptation, seed=4)
    paths = tmp_path / "seed.safetensors", tmp_path / "card.json"
    save_model(*paths, network, given, base)
    stored = load_file(paths[0]).keys()
    assert {"head_cuts.together.mean", next(n for n in head_parameters(network) if "weight" in n)} <= stored
    assert "blocks.0.conv.weight" not in stored
    loaded, card = load_model(*paths, base)
    assert card.head_cuts == cuts_read(loaded) == (1, len(units(network)))
    assert state_hashes(loaded) == state_hashes(network)
    pictures = torch.randn(2, 3, 16, 16)
    assert torch.equal(loaded(pictures), network.eval()(pictures))
    assert freeze(loaded, len(units(loaded))).depth == len(units(loaded))
