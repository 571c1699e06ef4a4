"""A state dict is more than its tensors: whatever way a state went, its layers get their versions back."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tests_trainings import die_after, recipe, train
from torch import nn

import thawline
from thawline.config.errors import UserError
from thawline.config.sections import Config, Input, Keep, Model, Source
from thawline.models.card import ModelCard
from thawline.models.checkpoint import load_model, save_model
from thawline.models.state import load_state, renamed, snapshot, tensors_of
from thawline.models.weights import source_model_from_weights
from thawline.models.zoo import build
from thawline.plan.costs import timed


def versions(seed: int = 0) -> nn.Module:
    return build("tests_networks.Versions", 2, seed=seed)


def test_without_versions_the_layers_refuse() -> None:
    with pytest.raises(ValueError, match="version should be 3 instead of None"):
        versions().load_state_dict(dict(versions().state_dict()))


def test_a_dictionary_of_tensors_is_loaded() -> None:
    one, other = versions(seed=0), versions(seed=1)
    load_state(other, snapshot(one))
    assert all(other.state_dict()[key].equal(tensor) for key, tensor in one.state_dict().items())


@pytest.mark.parametrize("change", [{"more": torch.zeros(1)}, {"head.bias": None}], ids=["more", "less"])
def test_other_tensors_than_the_networks_are_refused(change: dict) -> None:
    tensors = {name: each for name, each in (snapshot(versions()) | change).items() if each is not None}
    with pytest.raises(KeyError, match=next(iter(change))):
        load_state(versions(), tensors)


def test_a_snapshot_does_not_change_with_its_network() -> None:
    network = versions()
    before = snapshot(network)
    nn.init.ones_(network.head.bias)
    assert not before["head.bias"].equal(network.head.bias)
    assert tensors_of(network)["head.bias"].equal(network.head.bias)


def test_tensors_of_a_part_are_named_as_in_the_whole() -> None:
    body = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    whole = nn.ModuleDict({"left": body[0], "right": body[1], "own": nn.Linear(1, 1)})
    earlier = snapshot(body)
    nn.init.zeros_(body[0].weight)
    now = snapshot(whole)
    found = renamed(earlier, body, whole)
    assert all(found[f"left.{name}"] is earlier[f"0.{name}"] for name in ("weight", "bias"))
    assert found["right.running_var"] is earlier["1.running_var"]
    assert found["own.weight"].equal(now["own.weight"])
    assert found["own.weight"] is not whole["own"].weight
    assert list(found) == list(now)
    assert all(now[name].equal(tensor) for name, tensor in whole.state_dict().items())


def test_a_tensor_that_is_not_shared_is_named() -> None:
    part, whole = nn.Linear(1, 1), nn.Linear(1, 1)
    part.bias = whole.bias
    with pytest.raises(KeyError, match="not shared: weight"):
        renamed(snapshot(part), part, whole)


def test_a_state_of_other_things_than_tensors_is_refused_by_name() -> None:
    class Keeper(nn.Linear):
        def get_extra_state(self) -> object:
            return {"calls": 3}

        def set_extra_state(self, state: object) -> None:
            pass

    with pytest.raises(UserError, match=r"Sequential keeps something else .*: 0\._extra_state\.\n"):
        snapshot(nn.Sequential(Keeper(1, 1)))


def test_a_saved_model_is_loaded(tmp_path: Path, toy_store) -> None:
    network = versions(seed=1)
    card = ModelCard("tests_networks.Versions", {}, ("a", "b"), toy_store.transform, "x")
    save_model(tmp_path / "m.safetensors", tmp_path / "card.json", network, card)
    again, _ = load_model(tmp_path / "m.safetensors", tmp_path / "card.json")
    assert all(again.state_dict()[key].equal(tensor) for key, tensor in network.state_dict().items())


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("mnasnet0_5", "plain.pth"),
        ("tests_networks.Versions", "versions.pth"),
        ("tests_networks.Versions", "names.safetensors"),
    ],
)
def test_weights_in_a_file_become_a_source_model(name: str, form: str, tmp_path: Path) -> None:
    network, path = build(name, 7, seed=1), tmp_path / form
    if path.suffix == ".safetensors":
        save_file(network.state_dict(), path)
    else:
        torch.save(dict(network.state_dict()) if form == "plain.pth" else network.state_dict(), path)
    shown = Input(size=32, resize=32, mean=[0.5] * 3, std=[0.5] * 3)
    config = Config(source=Source(weights=str(path)), model=Model(architecture=name), input=shown)
    loaded, _ = source_model_from_weights(config)
    assert all(loaded.state_dict()[key].equal(tensor) for key, tensor in network.state_dict().items())


@pytest.mark.parametrize(
    "changes",
    [{"soup": 2, "depth": 1}, {"ema": 0.5, "keep": Keep.best, "depth": 1}],
    ids=lambda changes: next(iter(changes)),
)
def test_weights_that_are_kept_or_averaged_are_put_back(changes: dict, toy_store) -> None:
    train(versions(), toy_store, **changes)


def test_an_interrupted_training_goes_on(toy_store, tmp_path: Path) -> None:
    changes = {"depth": 1, "epochs": 3, "keep": Keep.best, "checkpoint": tmp_path}
    with pytest.raises(SystemError):
        train(versions(), toy_store, after=die_after(1), **changes)
    assert len(train(versions(), toy_store, **changes).history) == 3


def test_a_network_whose_steps_are_timed_comes_back_as_it_was(toy_store) -> None:
    network = versions()
    before = snapshot(network)
    timed(network, recipe(), torch.rand(4, 3, 16, 16), torch.tensor([0, 1, 0, 1]), [0], halves=(False,))
    assert all(before[key].equal(tensor) for key, tensor in network.state_dict().items())


def test_nothing_else_loads_a_state_into_a_network() -> None:
    package = Path(thawline.__file__).parent
    callers = {path for path in package.rglob("*.py") if "load_state_dict" in path.read_text()}
    assert callers == {package / "models" / "state.py"}
