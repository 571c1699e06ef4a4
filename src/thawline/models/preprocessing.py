"""The transform that goes with source weights, and where these are."""

from pathlib import Path

from thawline.artifacts import read_json
from thawline.config.errors import FieldError, UserError
from thawline.config.paths import expanded
from thawline.config.sections import Config, Input
from thawline.config.weight_files import SUFFIXES, is_weight_file
from thawline.data.transform import Transform, transform_of
from thawline.models.card import read_card
from thawline.models.sources.packages import package_of


def transform_for(config: Config) -> Transform:
    """Return the transform that `input` says; with `source.weights` their own, changed where `input` says so.

    Published weights bring their preset, a thawline model its card, and any other file what
    `borrowed_preset` finds; where that is nothing, `input` must say everything. Raises `UserError` or
    `FieldError`.
    """
    weights = config.source.weights
    if weights is None:
        return transform_of(config.input)
    path = file_of(weights)
    if path is None:
        return _changed(_preset(config.model.architecture, weights), config.input)
    if (card := card_beside(path)) is not None:
        return _changed(read_card(card).transform, config.input)
    own = borrowed_preset(config)
    return transform_of(config.input) if own is None else _changed(own, config.input)


def borrowed_preset(config: Config) -> Transform | None:
    """Return the preset of the weights that are published for the same architecture, which most files
    people have follow. None where there is none, or `input` asks for other channels."""
    try:
        own = _preset(config.model.architecture, "DEFAULT")
    except UserError:
        return None
    return own if own.channels == config.input.channels else None


def _preset(architecture: str, weights: str) -> Transform:
    if (package := package_of(architecture, weights)) is not None:
        return package.transform
    # what follows takes seconds to load, which a package of weights spares
    from thawline.models import zoo

    if architecture.startswith(zoo.TIMM):
        from thawline.models.sources import timm_weights

        return timm_weights.transform_of(architecture.removeprefix(zoo.TIMM), weights)
    from thawline.models.sources import torchvision_weights

    return torchvision_weights.transform_of(architecture, weights)


def weights_of(config: Config) -> str:
    """Return `source.weights`. Raises `FieldError` when there are none."""
    if config.source.weights is None:
        raise FieldError("source.weights", None, "the name of published weights or a file")
    return config.source.weights


def file_of(weights: str) -> Path | None:
    """Return the file that `weights` names, or None when it is the name of published weights.

    Raises `FieldError` or `UserError` when it is neither, or there is no such file.
    """
    path = expanded(weights)
    if not is_weight_file(weights):
        if len(path.parts) > 1:
            allowed = f"the name of published weights or a {'/'.join(SUFFIXES)} file"
            raise FieldError("source.weights", weights, allowed)
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
        fit=wanted.fit.name if wanted.fit else own.fit,
        interpolation=own.interpolation,
        mean=tuple(wanted.mean or own.mean),
        std=tuple(wanted.std or own.std),
    )
