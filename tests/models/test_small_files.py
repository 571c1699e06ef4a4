"""Fine-tuned models as the small files they are: what differs from the model they were made from."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from thawline.artifacts import file_hash
from thawline.config.errors import UserError
from thawline.config.sections import Finetune, Method
from thawline.data.transform import Transform
from thawline.models.adapters.adapt import adapt, merge
from thawline.models.adapters.adaptation import adaptation_of
from thawline.models.adapters.added import added_parameters
from thawline.models.card import ModelCard
from thawline.models.checkpoint import build_random, load_model, save_model
from thawline.models.cuts import units
from thawline.models.freezing import state_hashes
from thawline.models.head import head_parameters, with_fresh_head

CARD = ModelCard(
    "tests_networks.Small",
    {},
    ("birch", "elm", "ash"),
    Transform(16, 16, 3, "crop", "bilinear", (0.5,) * 3, (0.25,) * 3),
    "a test",
)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "base.safetensors"
    save_model(path, tmp_path / "base.json", build_random(CARD, seed=1), CARD)
    return path


def saved(base: Path, network: nn.Module) -> tuple[Path, Path]:
    paths = base.with_name("seed_0.safetensors"), base.with_name("card.json")
    save_model(*paths, network, CARD, base)
    return paths


def initial(base: Path) -> nn.Module:
    return load_model(base, base.with_suffix(".json"))[0]


def shaken(network: nn.Module, names: set[str] | frozenset[str]) -> nn.Module:
    """As if `names` had been trained."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name in sorted(names):
            parameter = network.get_parameter(name)
            parameter += torch.randn(parameter.shape, generator=generator)
    return network


def test_a_linear_probe_is_stored_as_its_head(base: Path) -> None:
    network = with_fresh_head(initial(base), seed=7)
    network.head.bias.data += 1
    paths = saved(base, network)
    assert load_file(paths[0]).keys() == head_parameters(network)
    loaded, card = load_model(*paths, base)
    assert state_hashes(loaded) == state_hashes(network)
    assert card.base == file_hash(base)


def test_buffers_that_moved_are_stored_too(base: Path) -> None:
    network = initial(base)
    network.stem[1].running_mean += 1
    paths = saved(base, network)
    assert load_file(paths[0]).keys() == {"stem.1.running_mean"}
    assert state_hashes(load_model(*paths, base)[0]) == state_hashes(network)


def test_a_difference_of_one_bit_is_stored(base: Path) -> None:
    network = initial(base)
    network.stem[1].running_mean.neg_()  # 0 becomes -0, and both are "equal"
    assert load_file(saved(base, network)[0]).keys() == {"stem.1.running_mean"}


def test_nothing_changed_is_an_empty_file(base: Path) -> None:
    paths = saved(base, initial(base))
    assert load_file(paths[0]) == {}
    assert state_hashes(load_model(*paths, base)[0]) == state_hashes(initial(base))


@pytest.mark.parametrize("method", [Method.lora, Method.adapter])
def test_an_adapted_model_is_stored_as_what_was_added_and_its_head(base: Path, method: Method) -> None:
    adaptation = adaptation_of(Finetune(method=method), {0})
    assert adaptation is not None
    network = adapt(initial(base), adaptation, seed=3)
    learning = added_parameters(network) | head_parameters(network)
    paths = saved(base, shaken(network, learning))
    assert load_file(paths[0]).keys() == learning
    loaded, card = load_model(*paths, base)
    assert card.adaptation == adaptation
    assert state_hashes(loaded) == state_hashes(network)
    pictures = torch.randn(2, 3, 16, 16)
    assert torch.equal(loaded(pictures), network.eval()(pictures))
    assert [unit.name for unit in units(loaded)] == [unit.name for unit in units(initial(base))]


def test_prompts_are_found_again_in_a_network_whose_attention_starts_at_zero(tmp_path: Path) -> None:
    card, base = replace(CARD, architecture="tests_networks.ReZero"), tmp_path / "base.safetensors"
    trained = shaken(build_random(card, seed=1), {"blocks.0.share", "blocks.1.share"})
    save_model(base, tmp_path / "base.json", trained, card)
    adaptation = adaptation_of(Finetune(method=Method.prompt), {0})
    assert adaptation is not None
    network = adapt(initial(base), adaptation, seed=3)
    learning = added_parameters(network) | head_parameters(network)
    paths = tmp_path / "seed_0.safetensors", tmp_path / "card.json"
    save_model(*paths, shaken(network, learning), card, base)
    assert load_file(paths[0]).keys() == learning
    loaded, read = load_model(*paths, base)
    assert read.adaptation == adaptation
    assert state_hashes(loaded) == state_hashes(network)
    pictures = torch.randn(2, 3, 16, 16)
    assert torch.equal(loaded(pictures), network.eval()(pictures))


def test_an_adapted_model_can_be_stored_completely(tmp_path: Path) -> None:
    adaptation = adaptation_of(Finetune(method=Method.adapter), [])
    assert adaptation is not None
    network = adapt(build_random(CARD), adaptation, seed=3)
    paths = tmp_path / "m.safetensors", tmp_path / "c.json"
    card = save_model(*paths, network, CARD)
    assert (card.base, card.adaptation) == (None, adaptation)
    assert state_hashes(load_model(*paths)[0]) == state_hashes(network)


def test_a_merged_model_is_a_plain_one(base: Path) -> None:
    adaptation = adaptation_of(Finetune(method=Method.lora), [])
    assert adaptation is not None
    network = merge(shaken(adapt(initial(base), adaptation, seed=3), frozenset()))
    paths = base.with_name("m.safetensors"), base.with_name("c.json")
    card = save_model(*paths, network, replace(CARD, adaptation=adaptation, base="old"))
    assert (card.base, card.adaptation) == (None, None)
    assert load_file(paths[0]).keys() == initial(base).state_dict().keys()


def test_without_its_base_a_small_file_is_refused(base: Path) -> None:
    paths = saved(base, initial(base))
    wanted = f"(?s)seed_0.safetensors holds only what differs .*no base is given.*{file_hash(base)}.*export"
    with pytest.raises(UserError, match=wanted):
        load_model(*paths)
    base.unlink()
    with pytest.raises(UserError, match="base.safetensors does not exist"):
        load_model(*paths, base)


def test_another_base_is_refused_by_name(base: Path) -> None:
    paths = saved(base, initial(base))
    wanted = file_hash(base)
    save_model(base, base.with_suffix(".json"), build_random(CARD, seed=2), CARD)
    message = (
        rf"(?s)base.safetensors is not the base of .*seed_0.*wanted: .*{wanted}.*found: .*{file_hash(base)}"
    )
    with pytest.raises(UserError, match=message):
        load_model(*paths, base)


def test_a_complete_model_needs_no_base(base: Path, tmp_path: Path) -> None:
    loaded, _ = load_model(base, base.with_suffix(".json"), tmp_path / "there is none.safetensors")
    assert state_hashes(loaded) == state_hashes(initial(base))


def test_tensors_that_are_unknown_or_missing_are_named(base: Path, tmp_path: Path) -> None:
    network = initial(base)
    network.stray = nn.Parameter(torch.ones(2))
    with pytest.raises(UserError, match=r"unexpected\):\n  [+] stray \(2,\)$"):
        load_model(*saved(base, network), base)
    tensors = load_file(base)
    tensors["alien"] = tensors.pop("head.bias")
    save_file(tensors, base)
    with pytest.raises(UserError, match=r"unexpected\):\n  - head.bias \(3,\)\n  [+] alien \(3,\)$"):
        load_model(*saved(base, build_without_bias(base)), base)


def build_without_bias(base: Path) -> nn.Module:
    network = build_random(CARD, seed=1)
    network.head.bias = None
    return network


def test_seeds_of_one_base_share_a_card(base: Path) -> None:
    card_path = base.with_name("card.json")
    networks = {seed: with_fresh_head(initial(base), seed) for seed in (0, 1)}
    for seed, network in networks.items():
        save_model(base.with_name(f"seed_{seed}.safetensors"), card_path, network, CARD, base)
    for seed, network in networks.items():
        loaded, _ = load_model(base.with_name(f"seed_{seed}.safetensors"), card_path, base)
        assert state_hashes(loaded) == state_hashes(network)
