import subprocess
import sys

import pytest

from thawline.config.errors import FieldError
from thawline.config.sections import Config, Fit, Input, Model, Source
from thawline.data.transform import Transform, transform_of
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


@pytest.fixture
def path(tmp_path):
    (tmp_path / "model.safetensors").touch()
    return tmp_path / "model.safetensors"


def test_a_file_without_a_card_follows_what_is_published_for_its_architecture(path):
    asked = Input(size=None, fit=None)
    assert transform_for(config(path, asked)) == transform_for(config("DEFAULT", asked))


@pytest.mark.parametrize(
    ("architecture", "channels"), [("torchvision.models.resnet.ResNet", 3), ("resnet18", 1)]
)
def test_where_nothing_is_published_a_file_brings_nothing(path, architecture, channels):
    asked = config(path, Input(size=None, channels=channels))
    asked.model.architecture = architecture
    with pytest.raises(FieldError, match="input.size"):
        transform_for(asked)
    asked.input.size = 48
    found = transform_for(asked)
    assert (found.size, found.mean, found.std) == (48, (0.5,) * channels, (0.25,) * channels)


def test_a_package_of_weights_brings_its_preset_without_torch():
    code = """if True:
        import sys
        from thawline.config.sections import Config, Input, Model, Source
        from thawline.models.preprocessing import transform_for

        model = Model(architecture="timm:tf_efficientnet_lite0")
        config = Config(source=Source(weights="efficientnet-lite0"), model=model, input=Input(size=None))
        assert transform_for(config).size == 224
        sys.exit(any(name in sys.modules for name in ("torch", "torchvision", "timm")))
    """
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_weights_the_configuration_says_everything():
    assert transform_for(Config()) == transform_of(Config().input)
