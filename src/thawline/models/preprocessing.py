"""The transform that goes with source weights, and where these are."""

from pathlib import Path

from thawline.artifacts import read_json
from thawline.config.errors import FieldError, UserError
from thawline.config.sections import Config, Input
from thawline.data.transform import Transform, transform_of
from thawline.models import zoo
from thawline.models.card import read_card

SUFFIXES = (".safetensors", ".pth", ".pt")
"""How the names of files with weights end."""


def transform_for(config: Config) -> Transform:
    """Return the transform that goes with `source.weights`: their own, changed where `input` says so.

    Published weights bring their preset, a thawline model its card. A bare state dict brings nothing:
    then `input` must say everything. Raises `UserError` or `FieldError`.
    """
    weights, architecture = weights_of(config), config.model.architecture
    path = file_of(weights)
    if path is None:
        return _changed(zoo.weights_transform(architecture, weights), config.input)
    if (card := card_beside(path)) is not None:
        return _changed(read_card(card).transform, config.input)
    return transform_of(config.input)


def weights_of(config: Config) -> str:
    """Return `source.weights`. Raises `FieldError` when there are none."""
    if config.source.weights is None:
        raise FieldError("source.weights", None, "a torchvision weights name or a file")
    return config.source.weights


def file_of(weights: str) -> Path | None:
    """Return the file that `weights` names, or None when it is the name of published weights.

    Raises `FieldError` or `UserError` when it is neither, or there is no such file.
    """
    path = Path(weights).expanduser()
    if path.suffix not in SUFFIXES:
        if len(path.parts) > 1:
            raise FieldError("source.weights", weights, f"a weights name or a {'/'.join(SUFFIXES)} file")
        return None
    if not path.is_file():
        raise UserError(
            f"source.weights = {weights}: there is no such file (looked in {path.absolute().parent})."
        )
    return path


def card_beside(path: Path) -> Path | None:
    """Return the card that lists `path`: beside it, or above the folder the weights are collected in."""
    for card in (path.with_name("card.json"), path.parent.with_name("card.json")):
        content = read_json(card) if card.is_file() else None
        if isinstance(content, dict) and path.name in content.get("weights", {}):
            return card
    return None


def _changed(own: Transform, wanted: Input) -> Transform:
    if wanted.channels != own.channels:
        raise FieldError(
            "input.channels", wanted.channels, f"{own.channels}, because source.weights were trained on that"
        )
    size = wanted.size or own.size
    return Transform(
        size=size,
        resize=wanted.resize or (own.resize if wanted.size is None else size),
        channels=own.channels,
        fit=wanted.fit.name,
        interpolation=own.interpolation,
        mean=tuple(wanted.mean or own.mean),
        std=tuple(wanted.std or own.std),
    )
