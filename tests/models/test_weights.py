from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import GoogLeNet_Weights, ResNet18_Weights, ShuffleNet_V2_X0_5_Weights, WeightsEnum

from thawline.config.choices import HeadVariant, Match
from thawline.config.errors import UserError
from thawline.config.sections import Config, Input, Model, Source
from thawline.data.transform import Transform
from thawline.models.card import ModelCard
from thawline.models.checkpoint import build_random, load_model, save_model
from thawline.models.freezing import state_hashes
from thawline.models.head import replace_head
from thawline.models.preprocessing import transform_for
from thawline.models.weights import source_model_from_weights
from thawline.models.zoo import build

NAME, SMALL = "shufflenet_v2_x0_5", "tests_networks.Small"


def config(
    weights: object, architecture: str = NAME, input: Input | None = None, **options: object
) -> Config:
    return Config(
        source=Source(weights=str(weights)),
        model=Model(architecture=architecture, options=options),
        input=input or Input(),
    )


def of_small(path: Path) -> Config:
    return config(path, SMALL, Input(size=16, resize=16, mean=[0.5] * 3, std=[0.5] * 3))


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return build(SMALL, 7, seed=0)


@pytest.fixture
def published(monkeypatch):
    """torchvision's download answers with random weights; returns what was asked for."""
    asked = []

    def get_state_dict(self, *args, **kwargs):  # noqa: ARG001
        asked.append(self)
        if isinstance(self, GoogLeNet_Weights):
            return build("googlenet", 1000, aux_logits=True, init_weights=False).state_dict()
        return build({ResNet18_Weights: "resnet18"}.get(type(self), NAME), 1000, seed=3).state_dict()

    monkeypatch.setattr(WeightsEnum, "get_state_dict", get_state_dict)
    return asked


def test_published_weights_are_loaded_with_their_classes(published):
    found, card = source_model_from_weights(config("DEFAULT"))
    assert published == [ShuffleNet_V2_X0_5_Weights.IMAGENET1K_V1]
    assert state_hashes(found) == state_hashes(build(NAME, 1000, seed=3))
    assert len(card.classes) == 1000
    assert card.classes[0] == "tench"
    assert card.origin.startswith("torchvision IMAGENET1K_V1 (https://")
    assert not found.training


def test_what_published_weights_change_besides_tensors_is_in_the_card(published, tmp_path):
    found, card = source_model_from_weights(config("DEFAULT", "googlenet"))
    assert card.options == {"transform_input": True}
    assert found.aux1 is None
    save_model(tmp_path / "m.safetensors", tmp_path / "card.json", found, card)
    again, _ = load_model(tmp_path / "m.safetensors", tmp_path / "card.json")
    assert found.transform_input
    assert again.transform_input
    assert not build("googlenet", 1000, init_weights=False).transform_input


@pytest.mark.filterwarnings("ignore:auxiliary heads in the pretrained googlenet")
def test_auxiliary_heads_of_published_weights_are_kept_when_asked_for(published):
    found, card = source_model_from_weights(config("DEFAULT", "googlenet", aux_logits=True))
    assert card.options == {"aux_logits": True, "transform_input": True}
    assert found.aux1.fc2.out_features == 1000


@pytest.mark.parametrize("error", [URLError("no route"), TimeoutError("slow")])
def test_without_a_network_it_says_where_to_put_the_file(monkeypatch, error):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(WeightsEnum, "get_state_dict", fail)
    with pytest.raises(UserError, match=r"resnet18-f37072fd.pth cannot be downloaded.*\n.*checkpoints"):
        source_model_from_weights(config("DEFAULT", "resnet18"))


def test_options_that_do_not_fit_published_weights_are_refused(published):
    with pytest.raises(UserError, match="cannot be loaded with model.options {'width_per_group': 32}"):
        source_model_from_weights(config("DEFAULT", "resnet18", width_per_group=32))


def written(path: Path, tensors: object) -> Path:
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path)
    return path


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_state_dict_is_loaded_and_says_how_many_classes_there_are(tmp_path, network, suffix):
    path = written(tmp_path / f"leaves{suffix}", network.state_dict())
    found, card = source_model_from_weights(of_small(path))
    assert state_hashes(found) == state_hashes(network)
    assert card.classes == tuple(f"class {index}" for index in range(7))
    assert card.transform == transform_for(of_small(path))
    assert card.origin.startswith(f"file leaves{suffix}, SHA-256 ")
    assert not found.training


def test_what_was_done_to_a_training_file_is_in_the_card(tmp_path):
    network = build(NAME, 7, seed=0)
    state = {f"module.{name}": tensor.half() for name, tensor in network.state_dict().items()}
    path = written(tmp_path / "checkpoint.pth.tar", {"state_dict": {}, "model": state, "model_ema": state})
    found, card = source_model_from_weights(config(path))
    assert state_hashes(found) == state_hashes(network.half().float())
    assert card.notes == {
        "weights": {
            "taken": "model_ema",
            "left": ["model"],
            "preset": f"that of the weights published for {NAME}",
            "prefix": "module.",
            "converted": "float16",
        }
    }
    assert card.tensors["dropped"] == card.tensors["initialised"] == []


def test_a_body_without_a_head_is_enough(tmp_path, network):
    body = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith("head.")}
    found, card = source_model_from_weights(of_small(written(tmp_path / "body.safetensors", body)))
    assert card.tensors["initialised"] == ["head.bias", "head.weight"]
    assert card.classes == ("class 0",)
    hashes = state_hashes(found)
    assert all(hashes[name] == value for name, value in state_hashes(network).items() if name in body)
    replaced, accounting = replace_head(found, 3, 0)
    assert replaced(torch.randn(2, 3, 32, 32)).shape == (2, 3)
    assert set(accounting["copied"]) == body.keys()


def test_other_names_are_matched_by_order_when_asked_for(tmp_path, network):
    tensors = network.state_dict().items()
    state = {f"layer{index}.{name}": tensor for index, (name, tensor) in enumerate(tensors)}
    asked = of_small(written(tmp_path / "port.pth", state))
    with pytest.raises(UserError, match="does not fit the network.*(\n.*)*source.match=order"):
        source_model_from_weights(asked)
    asked.source.match = Match.order
    found, card = source_model_from_weights(asked)
    assert state_hashes(found) == state_hashes(network)
    assert "layer0.stem.0.weight -> stem.0.weight" in card.tensors["copied"]


def test_safetensors_keep_no_order_to_match_by(tmp_path, network):
    asked = of_small(written(tmp_path / "port.safetensors", network.state_dict()))
    asked.source.match = Match.order
    with pytest.raises(UserError, match=r"cannot be matched by order: .safetensors files are sorted"):
        source_model_from_weights(asked)


def test_weights_of_another_architecture_are_refused(tmp_path, network):
    path = written(tmp_path / "other.pth", network.state_dict())
    with pytest.raises(UserError, match=r"other.pth does not fit .*\n  - classifier.0.bias(.|\n)*[+] blocks"):
        source_model_from_weights(config(path, "mobilenet_v3_small"))


@pytest.mark.parametrize(
    ("weights", "why"),
    [
        ("nowhere/leaves.pth", "there is no such file"),
        ("leaves.onnx/x", r"the name of published weights or a .safetensors/.pth"),
        ("IMAGENET", "no weights 'IMAGENET'"),
    ],
)
def test_what_is_neither_a_file_nor_published_is_refused(weights, why):
    with pytest.raises(UserError, match=why):
        source_model_from_weights(config(weights))


CARD = ModelCard(
    SMALL, {}, ("ash", "elm"), Transform(48, 50, 3, "pad", "bicubic", (0.1,) * 3, (0.2,) * 3), "leaves"
)


def saved(folder: Path, weights: str = "model.safetensors", card: ModelCard = CARD) -> Path:
    network, _ = replace_head(build_random(card), len(card.classes), 0, HeadVariant.mlp)
    card = ModelCard(**{**vars(card), "head": HeadVariant.mlp})
    path = folder / weights
    save_model(path, folder / "card.json", network, card)
    return path


@pytest.mark.parametrize("weights", ["model.safetensors", "weights/seed_0.safetensors"])
def test_a_thawline_model_brings_its_card(tmp_path, weights):
    path = saved(tmp_path, weights)
    found, card = source_model_from_weights(config(path, SMALL, Input(size=None)))
    assert card.classes == ("ash", "elm")
    assert card.head is HeadVariant.mlp
    assert (card.transform.size, card.transform.interpolation) == (48, "bicubic")
    assert "leaves" in card.origin
    assert found(torch.randn(2, 3, 48, 48)).shape == (2, 2)


def test_a_thawline_model_of_another_architecture_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"is a tests_networks.Small .* but model.architecture is resnet18"):
        source_model_from_weights(config(saved(tmp_path), "resnet18"))


def test_a_card_of_something_else_is_left_alone(tmp_path, network):
    (tmp_path / "card.json").write_text('{"name": "ace of spades"}')
    path = written(tmp_path / "model.safetensors", network.state_dict())
    assert source_model_from_weights(of_small(path))[1].classes == tuple(f"class {i}" for i in range(7))
