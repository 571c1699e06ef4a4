"""A source model from published weights or from a file, instead of pretraining one."""

import logging
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from thawline.artifacts import file_hash
from thawline.config.choices import Match
from thawline.config.errors import UserError
from thawline.config.sections import Config
from thawline.data.transform import Transform
from thawline.models import zoo
from thawline.models.card import ModelCard
from thawline.models.checkpoint import load_model
from thawline.models.head import attach_heads
from thawline.models.preprocessing import borrowed_preset, card_beside, file_of, transform_for, weights_of
from thawline.models.sources import matching
from thawline.models.sources.files import StateDict, read_state_dict
from thawline.models.sources.packages import package_of
from thawline.models.sources.published import Published
from thawline.models.state import load_state, tensors_of

log = logging.getLogger(__name__)

Matcher = Callable[[matching.Tensors, matching.Tensors, Collection[str]], matching.Match]
"""Of the tensors of a file, those of a network and the paths of its heads."""


def source_model_from_weights(config: Config) -> tuple[nn.Module, ModelCard]:
    """Return the network with the weights `source.weights` names, in evaluation mode, and its card.

    Weights that torchvision or timm publish are downloaded to where these keep their files. A file is read
    without running pickled code. Every tensor of the body must be there and fit; the head, which is
    replaced anyway, may have any number of outputs or be missing, and is random then. The card says which
    tensors were taken. Beside a thawline model lies its card, which is used.

    Raises `UserError` with sorted +/- lists, or with what to do when the weights cannot be had.
    """
    weights, transform = weights_of(config), transform_for(config)
    path = file_of(weights)
    if path is None:
        return _published(config, weights, transform)
    if (card_path := card_beside(path)) is not None:
        network, card = load_model(path, card_path)
        return network, _checked_card(config, path, card, transform)
    found = read_state_dict(path)
    source = Published(found.tensors, (), f"file {path.name}, SHA-256 {file_hash(path)}")
    notes = _described(found)
    if borrowed_preset(config) is not None:
        notes["preset"] = f"that of the weights published for {config.model.architecture}"
    return _model(config, source, transform, _matcher(config, path, found), notes)


def _published(config: Config, weights: str, transform: Transform) -> tuple[nn.Module, ModelCard]:
    architecture, options = config.model.architecture, dict(config.model.options)
    if (package := package_of(architecture, weights)) is not None:
        from thawline.models.sources.timm_weights import class_names

        tensors = read_state_dict(package.path()).tensors
        source = Published(tensors, class_names(1000), f"package {package.name} {package.version}")
        return _model(config, source, transform, partial(matching.by_order, origin=source.origin))
    if architecture.startswith(zoo.TIMM):
        from thawline.models.sources import timm_weights

        source = timm_weights.load(architecture.removeprefix(zoo.TIMM), weights, options)
    else:
        from thawline.models.sources import torchvision_weights

        source = torchvision_weights.load(architecture, weights, options)
    return _model(config, source, transform, partial(matching.by_name, origin=source.origin))


def _model(
    config: Config,
    source: Published,
    transform: Transform,
    match: Matcher,
    notes: dict[str, Any] | None = None,
) -> tuple[nn.Module, ModelCard]:
    """Build the network, put what of `source` matches into it, and describe both."""
    architecture, options = config.model.architecture, dict(config.model.options) | source.options
    network = zoo.build(architecture, 1, transform.channels, seed=0, **options)
    heads = attach_heads(network, 1)
    found = match(source.tensors, tensors_of(network), heads)
    if found.classes is not None:
        network = zoo.build(architecture, found.classes, transform.channels, seed=0, **options)
    own = tensors_of(network)
    load_state(network, own | found.tensors)
    outputs = found.classes or 1
    numbers = tuple(f"class {index}" for index in range(outputs))
    notes = {**(notes or {}), **_changes(source.tensors, found)}
    card = ModelCard(
        architecture=architecture,
        options=options,
        classes=source.classes if len(source.classes) == outputs else numbers,
        transform=transform,
        origin=source.origin,
        tensors={
            "copied": sorted(_taken(found)),
            "dropped": list(found.dropped),
            "initialised": sorted(own.keys() - found.tensors.keys()),
        },
        notes={"weights": notes} if notes else {},
    )
    _log(card)
    return network.eval(), card


def _taken(found: matching.Match) -> list[str]:
    """Name the tensors that were taken, and what they were called before unless a prefix says it all."""
    return [
        name if theirs == found.prefix + name else f"{theirs} -> {name}"
        for name, theirs in found.pairs.items()
    ]


def _changes(given: matching.Tensors, found: matching.Match) -> dict[str, Any]:
    """Say what was done to the names and numbers of all tensors that were taken."""
    kinds = {
        str(given[theirs].dtype)
        for name, theirs in found.pairs.items()
        if given[theirs].dtype != found.tensors[name].dtype
    }
    changes = {"prefix": found.prefix, "converted": ", ".join(sorted(kinds)).replace("torch.", "")}
    return {name: value for name, value in changes.items() if value}


def _matcher(config: Config, path: Path, found: StateDict) -> Matcher:
    if config.source.match is Match.names:
        return partial(matching.by_name, origin=str(path), ordered=found.ordered)
    if not found.ordered:
        raise UserError(
            f"{path} cannot be matched by order: .safetensors files are sorted when they are written.\n"
            "  Save a state dict instead: torch.save(model.state_dict(), path)"
        )
    return partial(matching.by_order, origin=str(path))


def _described(found: StateDict) -> dict[str, Any]:
    if not found.taken:
        return {}
    return {"taken": found.taken, **({"left": list(found.left)} if found.left else {})}


def _log(card: ModelCard) -> None:
    counts = {kind: len(names) for kind, names in card.tensors.items()}
    details = "".join(f"; {name}: {value}" for name, value in card.notes.get("weights", {}).items())
    log.info(
        "source weights: %d tensors taken, %d of the file left out, %d initialised%s",
        counts["copied"],
        counts["dropped"],
        counts["initialised"],
        details,
    )


def _checked_card(config: Config, path: Path, card: ModelCard, transform: Transform) -> ModelCard:
    wanted = (config.model.architecture, dict(config.model.options))
    if wanted != (card.architecture, card.options):
        raise UserError(
            f"{path} is a {card.architecture} with options {card.options}, but model.architecture is "
            f"{wanted[0]} with options {wanted[1]}.\n  Set model to what the card says."
        )
    return ModelCard(
        architecture=card.architecture,
        options=card.options,
        classes=card.classes,
        transform=transform,
        origin=f"thawline model {path.name}, SHA-256 {file_hash(path)}: {card.origin}",
        head=card.head,
    )
