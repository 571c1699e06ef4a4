import pytest

from thawline.config.errors import FieldError
from thawline.config.sections import Config, Fit, Input, Model, Source
from thawline.data.transform import Transform
from thawline.models.preprocessing import transform_for


def config(weights: object, input: Input) -> Config:
    return Config(source=Source(weights=str(weights)), model=Model(architecture="resnet18"), input=input)


def test_the_preset_counts_where_the_input_says_nothing():
    asked = Input(size=None, fit=Fit.squash)
    found = transform_for(config("DEFAULT", asked))
    preset = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert found == Transform(224, 256, 3, "squash", "bilinear", *preset)


def test_the_input_counts_where_it_says_something():
    asked = Input(size=64, mean=[0.1, 0.2, 0.3])
    found = transform_for(config("DEFAULT", asked))
    assert (found.size, found.resize) == (64, 64)
    assert found.mean == (0.1, 0.2, 0.3)
    assert found.std == (0.229, 0.224, 0.225)


def test_published_weights_take_colour_pictures():
    with pytest.raises(FieldError, match="input.channels = 1 is not allowed.\n  allowed: 3, because"):
        transform_for(config("DEFAULT", Input(channels=1)))


def test_a_file_without_a_card_brings_nothing(tmp_path):
    path = tmp_path / "model.safetensors"
    path.touch()
    with pytest.raises(FieldError, match="input.size"):
        transform_for(config(path, Input(size=None)))


def test_a_configuration_without_weights_is_a_mistake():
    with pytest.raises(FieldError, match="source.weights = None"):
        transform_for(Config())
