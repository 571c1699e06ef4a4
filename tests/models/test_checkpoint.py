import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests_networks import freeze
from torch import nn

from thawline.config.choices import HeadVariant
from thawline.config.errors import UserError
from thawline.data.transform import Transform
from thawline.models import checkpoint
from thawline.models.card import ModelCard
from thawline.models.checkpoint import build_random, load_model, save_model
from thawline.models.freezing import state_hashes
from thawline.models.head import replace_head

GRAY = Transform(32, 36, 1, "pad", "bicubic", (0.4,), (0.3,))
CARD = ModelCard(
    architecture="tests_networks.Small",
    options={},
    classes=("birch", "elm", "ash"),
    transform=GRAY,
    origin="a test",
    source_hash="abc",
    tensors={"copied": ["stem.0.weight"], "dropped": [], "initialised": ["head.weight"]},
    notes={"epochs": 3},
)


@pytest.fixture
def network() -> nn.Module:
    return build_random(CARD, seed=1)


@pytest.fixture
def saved(tmp_path, network):
    save_model(tmp_path / "model.safetensors", tmp_path / "card.json", network, CARD)
    return tmp_path / "model.safetensors", tmp_path / "card.json"


def test_what_is_saved_is_what_is_loaded(saved, network):
    loaded, card = load_model(*saved)
    assert state_hashes(loaded) == state_hashes(network)
    assert replace(card, weights={}) == CARD
    assert not any(module.training for module in loaded.modules())


def test_loading_draws_no_random_numbers(saved):
    state = torch.get_rng_state()
    load_model(*saved)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_card_says_which_head_the_model_has(tmp_path, network):
    variant = HeadVariant.mlp
    target, _ = replace_head(network, 3, 0, variant)
    save_model(tmp_path / "m.safetensors", tmp_path / "c.json", target, replace(CARD, head=variant))
    loaded, _ = load_model(tmp_path / "m.safetensors", tmp_path / "c.json")
    pictures = torch.randn(2, 1, 32, 32)
    assert torch.equal(loaded(pictures), target.eval()(pictures))


def test_options_of_the_builder_are_in_the_card(tmp_path):
    options = {"dropout": 0.75, "norm_layer": None}
    card = replace(CARD, architecture="mobilenet_v3_small", options=options)
    save_model(tmp_path / "m.safetensors", tmp_path / "c.json", build_random(card), card)
    loaded, again = load_model(tmp_path / "m.safetensors", tmp_path / "c.json")
    assert again.options == options
    assert loaded.classifier[2].p == 0.75


def test_equal_models_give_equal_bytes(saved, network, tmp_path):
    first = [path.read_bytes() for path in saved]
    save_model(*saved, network, CARD)
    assert [path.read_bytes() for path in saved] == first


def test_a_card_of_another_model_is_not_shared(saved, network):
    save_model(saved[0].with_name("other.safetensors"), saved[1], network, replace(CARD, origin="another"))
    with pytest.raises(UserError, match="not the file that .*card.json describes"):
        load_model(*saved)


def test_a_changed_weights_file_is_noticed(saved):
    tensors = load_file(saved[0])
    tensors["head.bias"] += 1
    save_file(tensors, saved[0])
    with pytest.raises(UserError, match="SHA-256 differs"):
        load_model(*saved)


def test_a_network_that_does_not_fit_the_card_is_answered_with_lists(tmp_path, network):
    network.head = nn.Sequential(nn.Linear(8, 4))
    save_model(tmp_path / "m.safetensors", tmp_path / "c.json", network, CARD)
    lists = r"""missing, [+] unexpected\):
  - head.bias \(3,\)
  - head.weight \(3, 8\)
  [+] head.0.bias \(4,\)
  [+] head.0.weight \(4, 8\)$"""
    with pytest.raises(UserError, match=lists):
        load_model(tmp_path / "m.safetensors", tmp_path / "c.json")


def test_a_missing_file_is_answered_with_what_helps(saved):
    saved[0].unlink()
    with pytest.raises(UserError, match="model.safetensors does not exist.\n.*Copy the whole folder"):
        load_model(*saved)
    saved[1].unlink()
    with pytest.raises(UserError, match="card.json does not exist.\n.*Copy the whole folder"):
        load_model(*saved)


@pytest.mark.parametrize(
    "change",
    [
        lambda card: card.pop("classes"),
        lambda card: card.update(extra=1),
        lambda card: card.update(transform=None),
        lambda card: card.update(head="deep"),
        lambda card: card.update(adaptation={"method": "lora"}),
    ],
)
def test_a_damaged_card_is_refused(saved, change):
    card = json.loads(saved[1].read_text())
    change(card)
    saved[1].write_text(json.dumps(card))
    with pytest.raises(UserError, match="card.json is not a model card"):
        load_model(*saved)


def test_a_file_that_is_no_safetensors_is_refused(saved, network):
    from thawline.models.checkpoint import read_tensors

    saved[0].write_bytes(b"no tensors here")
    with pytest.raises(UserError, match="cannot be read as safetensors"):
        read_tensors(saved[0])


def test_tied_weights_are_saved_and_loaded(tmp_path):
    class Tied(nn.Module):
        def __init__(self, num_classes: int) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 4, 1)
            self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)
            self.two.weight = self.one.weight
            self.head = nn.Linear(4, num_classes)

    network = Tied(3)
    save_model(tmp_path / "m.safetensors", tmp_path / "c.json", network, CARD)
    tensors = load_file(tmp_path / "m.safetensors")
    assert torch.equal(tensors["one.weight"], tensors["two.weight"])
    twin = Tied(3)
    twin.load_state_dict(tensors)
    assert state_hashes(twin) == state_hashes(network)


def test_a_frozen_network_is_saved_like_any_other(tmp_path, network):
    freeze(network, 3)
    save_model(tmp_path / "m.safetensors", tmp_path / "c.json", network, CARD)
    loaded, _ = load_model(tmp_path / "m.safetensors", tmp_path / "c.json")
    assert all(parameter.requires_grad for parameter in loaded.parameters())


@pytest.mark.parametrize("step", ["save_file", "write_json"])
def test_an_interrupted_save_leaves_the_old_files(saved, network, monkeypatch, step):
    before = saved[0].read_bytes() if step == "save_file" else saved[1].read_bytes()

    def interrupt(*args, **kwargs):  # noqa: ARG001
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, step, interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_model(*saved, build_random(CARD, seed=9), CARD)
    assert (saved[0] if step == "save_file" else saved[1]).read_bytes() == before
    assert sorted(path.name for path in saved[0].parent.iterdir()) == ["card.json", "model.safetensors"]
