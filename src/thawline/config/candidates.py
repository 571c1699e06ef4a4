"""Sources to choose from (`source.candidates`): how each is written, and the weights and network it names."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from thawline.config.addresses import advice, is_address
from thawline.config.architectures import ARCHITECTURES, is_architecture
from thawline.config.errors import FieldError, closest
from thawline.config.weight_files import SUFFIXES, is_weight_file

FIELD = "source.candidates"
PUBLISHED = "DEFAULT"
"""What `source.weights` says for the weights that are published for an architecture."""


@dataclass(frozen=True)
class Candidate:
    """Weights and the network that they are for, as `source.weights` and `model.architecture` name them."""

    architecture: str
    weights: str

    @classmethod
    def of(cls, text: str) -> "Candidate":
        """Read what `spelt_out` writes: ARCHITECTURE=WEIGHTS."""
        architecture, _, weights = text.partition("=")
        return cls(architecture, weights)

    @property
    def name(self) -> str:
        """Return what it is called: without the folder of a file, without weights that go without saying."""
        weights = Path(self.weights).name
        return self.architecture if weights == PUBLISHED else f"{self.architecture}={weights}"


def names(candidates: Sequence[str]) -> list[str]:
    """Return what candidates as `spelt_out` writes them are called, with a number where several files would
    be called the same."""
    found = [Candidate.of(each).name for each in candidates]
    places = [found[:place].count(name) + 1 for place, name in enumerate(found)]
    return [
        f"{name} ({place})" if found.count(name) > 1 else name
        for name, place in zip(found, places, strict=True)
    ]


def spell_out(values: Any, checkout: Path, located: Callable[[str], Path]) -> None:
    """Spell out `source.candidates` in `values`, a configuration of `checkout`, where there are any."""
    candidates = OmegaConf.select(values, FIELD)
    if OmegaConf.is_list(candidates):
        presets = checkout / "conf" / "source"
        values.source.candidates = [spelt_out(str(each), presets, located) for each in candidates]


def spelt_out(given: str, presets: Path, located: Callable[[str], Path]) -> str:
    """Return a candidate as ARCHITECTURE=WEIGHTS, so that nobody has to read conf/ to understand it.

    Args:
        given: the name of a preset with weights (`imagenet`); an architecture, whose published weights are
            meant (`timm:resnet18`); or ARCHITECTURE=WEIGHTS, the name of weights or a file. What is spelt out
            stays as it is.
        presets: the folder conf/source.
        located: returns where a file is that was given by a relative path.

    Raises:
        FieldError: it is nothing of these, or there is no such file.
    """
    preset = presets / f"{given}.yaml"
    if "/" not in given and preset.is_file():
        return _of_preset(given, preset)
    architecture, _, weights = given.partition("=")
    if is_address(given) or is_address(weights):
        raise FieldError(FIELD, given, advice(weights or given))
    if not weights and is_weight_file(given):
        allowed = f"the network before the file, which does not say it, such as mobilenet_v2={given}"
        raise FieldError(FIELD, given, allowed)
    if not is_architecture(architecture):
        near = closest(architecture, [*(path.stem for path in presets.glob("*.yaml")), *ARCHITECTURES])
        raise FieldError(FIELD, given, f"a preset, an architecture, or ARCHITECTURE=WEIGHTS; nearest: {near}")
    return f"{architecture}={_weights(given, weights or PUBLISHED, located)}"


def _of_preset(given: str, preset: Path) -> str:
    values = OmegaConf.load(preset)
    parts = [OmegaConf.select(values, name) for name in ("model.architecture", "source.weights")]
    if None in parts:
        allowed = "presets that name weights and their network, such as imagenet and imagenet-lite1"
        raise FieldError(FIELD, given, allowed)
    return "=".join(parts)


def _weights(given: str, weights: str, located: Callable[[str], Path]) -> str:
    if not is_weight_file(weights):
        if "/" in weights:
            raise FieldError(FIELD, given, f"the name of published weights or a {'/'.join(SUFFIXES)} file")
        return weights
    path = located(weights)
    if not path.is_file():
        raise FieldError(FIELD, given, f"a file that exists; there is none at {path}")
    return str(path)
