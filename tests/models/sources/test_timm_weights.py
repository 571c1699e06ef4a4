"""The weights that timm publishes: loaded by timm from its cache, and shown what timm shows them."""

import subprocess

import huggingface_hub.constants
import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from timm.data import create_transform
from timm.models import get_pretrained_cfg, list_pretrained

from thawline.config.errors import UserError
from thawline.config.sections import Config, Input, Model, Source
from thawline.data.decoding import read
from thawline.models.freezing import state_hashes
from thawline.models.preprocessing import transform_for
from thawline.models.sources.timm_weights import transform_of
from thawline.models.weights import source_model_from_weights


def config(architecture: str, weights: str = "DEFAULT", **options: object) -> Config:
    return Config(
        source=Source(weights=weights),
        model=Model(architecture=architecture, options=options),
        input=Input(size=None, fit=None),
    )


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of the hub, and no network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub here"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub here"


def test_without_a_network_the_error_has_the_command_that_puts_the_file_where_it_is_found(cache, tmp_path):
    network = timm.create_model("test_resnet", num_classes=1000)
    with pytest.raises(UserError, match="r160_in1k/resolve/main/model.safetensors cannot be") as error:
        source_model_from_weights(config("timm:test_resnet"))
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    command = str(error.value).splitlines()[-1]
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    found, card = source_model_from_weights(config("timm:test_resnet"))
    assert state_hashes(found) == state_hashes(network)
    assert card.origin == "timm test_resnet r160_in1k (timm/test_resnet.r160_in1k)"
    assert card.classes[985] == "daisy"
    assert card.transform.size == 160


def test_published_bodies_without_a_head_are_taken(cache):
    name = "timm/convnextv2_atto.fcmae"
    network = timm.create_model("convnextv2_atto", num_classes=0)
    folder = cache / f"models--{name.replace('/', '--')}"
    (folder / "snapshots" / "local").mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("local")
    save_file(network.state_dict(), folder / "snapshots" / "local" / "model.safetensors")
    found, card = source_model_from_weights(config("timm:convnextv2_atto", "fcmae"))
    assert card.tensors["initialised"] == ["head.fc.bias", "head.fc.weight"]
    hashes = state_hashes(found)
    assert all(hashes[key] == value for key, value in state_hashes(network).items())
    assert found(torch.randn(1, 3, 64, 64)).shape == (1, 1)


@pytest.mark.parametrize(("name", "weights"), [("resnet18", "tv_in1k"), ("resnet18.tv_in1k", "DEFAULT")])
def test_weights_are_named_by_their_tag(name, weights):
    assert transform_of(name, weights).interpolation == "bilinear"
    assert transform_of("resnet18", "DEFAULT").interpolation == "bicubic"


def test_unknown_weights_are_answered_with_those_published():
    with pytest.raises(UserError, match=r"timm:resnet18 has no weights 'IMAGENET'.\n  published: a1_in1k, "):
        transform_of("resnet18", "IMAGENET")


@pytest.mark.parametrize(
    "name",
    ["resnet18.a1_in1k", "resnet18.tv_in1k", "tf_efficientnet_lite0", "vit_base_patch16_siglip_224.webli"],
)
def test_pictures_are_shown_as_timm_shows_them(name):
    """The same pixels to a step of 1 in 255 (timm's tensors are normalised floats)."""
    size = (301, 229)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8), "RGB")
    picture = picture.resize((520, 390), Image.Resampling.BICUBIC)
    preset = get_pretrained_cfg(name)
    theirs = create_transform(
        preset.input_size,
        crop_pct=preset.crop_pct,
        crop_mode=preset.crop_mode,
        interpolation=preset.interpolation,
        mean=preset.mean,
        std=preset.std,
    )(picture)
    ours = transform_for(config(f"timm:{name}"))
    pixels = torch.from_numpy(read(ours, picture)[0].copy()).permute(2, 0, 1) / 255
    mean, std = (torch.tensor(each)[:, None, None] for each in (ours.mean, ours.std))
    torch.testing.assert_close((pixels - mean) / std, theirs, atol=1e-5, rtol=0)


def test_nearly_every_published_preset_is_understood():
    refused = []
    for name in list_pretrained():
        try:
            transform_of(name, "DEFAULT")
        except UserError as error:
            refused.append(str(error))
    assert len(refused) < 20
    assert all("which cannot be prepared.\n  Choose" in each for each in refused)
