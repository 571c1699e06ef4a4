"""The weights that torchvision publishes: their presets, and what is said about unknown names."""

import pytest

from thawline.config.errors import UserError
from thawline.models.sources.torchvision_weights import transform_of
from thawline.models.zoo import architectures


def test_weights_bring_their_preset():
    transform = transform_of("efficientnet_b3", "DEFAULT")
    assert (transform.size, transform.resize, transform.channels) == (300, 320, 3)
    assert (transform.fit, transform.interpolation) == ("crop", "bicubic")
    assert transform.mean == (0.485, 0.456, 0.406)
    assert transform.std == (0.229, 0.224, 0.225)


def test_every_published_preset_is_understood():
    from torchvision.models import get_model_weights

    for architecture in architectures():
        for weights in get_model_weights(architecture).__members__:
            transform = transform_of(architecture, weights)
            assert 0 < transform.size <= transform.resize


def test_unknown_weights_are_answered_with_those_published():
    with pytest.raises(UserError, match="no weights 'IMAGENET'.\n  published: IMAGENET1K_V1, DEFAULT"):
        transform_of("resnet18", "IMAGENET")


def test_a_class_of_ones_own_has_no_published_weights():
    with pytest.raises(UserError, match="No weights are published for package.module.Net"):
        transform_of("package.module.Net", "DEFAULT")
