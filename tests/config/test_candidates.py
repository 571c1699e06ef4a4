"""Candidates are spelt out where they are typed, and wrong ones are named there."""

from functools import cache
from pathlib import Path

import pytest
from omegaconf import DictConfig

from thawline.config.candidates import Candidate, names, spell_out
from thawline.config.composition import compose, located, to_config
from thawline.config.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
LITE0 = "timm:tf_efficientnet_lite0=efficientnet-lite0"


@cache
def with_weights() -> DictConfig:
    return compose(ROOT, ["source=weights"])


def spelt(*candidates: str) -> list[str]:
    """What our part of composing makes of these, or refuses."""
    values = with_weights().copy()
    values.source.candidates = list(candidates)
    spell_out(values, ROOT, located)
    return to_config(values).source.candidates


def test_presets_architectures_and_files_are_spelt_out(tmp_path: Path) -> None:
    body = tmp_path / "body.safetensors"
    body.touch()
    given = f"imagenet,timm:resnet18,resnet50,'resnet50=IMAGENET1K_V1','mobilenet_v2={body}'"
    found = compose(ROOT, ["source=weights", f"source.candidates=[{given}]"]).source.candidates
    assert found[:2] == [LITE0, "timm:resnet18=DEFAULT"]
    assert found[2:] == ["resnet50=DEFAULT", "resnet50=IMAGENET1K_V1", f"mobilenet_v2={body}"]
    assert spelt(*found) == found


def test_a_name_has_no_folder_and_nothing_that_goes_without_saying() -> None:
    assert Candidate.of("mobilenet_v2=/home/a=b/body.pth") == Candidate("mobilenet_v2", "/home/a=b/body.pth")
    assert Candidate.of("mobilenet_v2=/weights/body.pth").name == "mobilenet_v2=body.pth"
    assert Candidate.of("timm:resnet18=DEFAULT").name == "timm:resnet18"
    assert names(["a=/1/m.pth", "b=DEFAULT", "a=/2/m.pth"]) == ["a=m.pth (1)", "b", "a=m.pth (2)"]


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        (["imagnet"], r"source\.candidates = 'imagnet' is not allowed.*nearest: imagenet"),
        (["glyphs"], "presets that name weights and their network"),
        (["body.safetensors"], r"the network before the file.*mobilenet_v2=body\.safetensors"),
        (["resnet18=no/body.pth"], r"a file that exists; there is none at /.*/no/body\.pth"),
        (["resnet18=https://a.b/c.pth"], "a path here: fetch what lies at this address first"),
        (["imagenet", LITE0], rf"\['{LITE0}'\] is not allowed.*each once"),
    ],
)
def test_a_wrong_candidate_is_named_where_it_is_typed(candidates: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        spelt(*candidates)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["source.candidates=[imagenet]"], r"source\.weights = None .*give source=weights with"),
        (
            ["source=weights", "source.candidates=[imagenet]", "+model.options.width=2"],
            r"model\.options = .*each of source\.candidates is built without options",
        ),
    ],
)
def test_candidates_need_weights_and_no_options(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        compose(ROOT, overrides)
