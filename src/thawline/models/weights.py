"""A source model from published weights or from a file, instead of pretraining one."""

import inspect
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError
from zipfile import BadZipFile

import torch
from torch import nn
from torchvision import models as torchvision_models

from thawline.artifacts import file_hash
from thawline.config.errors import UserError
from thawline.config.sections import Config
from thawline.data.transform import Transform
from thawline.models import zoo
from thawline.models.card import ModelCard
from thawline.models.checkpoint import load_model, load_strictly, read_tensors
from thawline.models.cuts import head_name
from thawline.models.head import attach_heads
from thawline.models.preprocessing import card_beside, file_of, transform_for, weights_of

# What training scripts put around a state dict, outermost first.
_WRAPPERS = ("state_dict", "model_state_dict", "model")
_PARALLEL = "module."


def source_model_from_weights(config: Config) -> tuple[nn.Module, ModelCard]:
    """Return the network with the weights `source.weights` names, in evaluation mode, and its card.

    A torchvision weights name is downloaded where torchvision keeps its files. A .safetensors, .pth or
    .pt file is read without running pickled code, and the number of classes is taken from its head;
    beside a thawline model lies its card, which is used. Every tensor must fit.

    Raises `UserError` with sorted +/- lists, or with what to do when the weights cannot be had.
    """
    weights, transform = weights_of(config), transform_for(config)
    path = file_of(weights)
    if path is None:
        return _published(config, weights, transform)
    if (card_path := card_beside(path)) is not None:
        network, card = load_model(path, card_path)
        return network, _checked_card(config, path, card, transform)
    return _from_file(config, path, transform)


def _published(config: Config, weights: str, transform: Transform) -> tuple[nn.Module, ModelCard]:
    architecture, given = config.model.architecture, dict(config.model.options)
    entry = zoo.published_weights(architecture, weights)
    classes = tuple(entry.meta["categories"])
    loaded = _download(architecture, entry, given)
    options = given | _implied_options(loaded, zoo.build(architecture, len(classes), seed=0, **given))
    network = zoo.build(architecture, len(classes), seed=0, **options)
    tensors = loaded.state_dict()
    dropped = [] if options.get("aux_logits") else sorted(tensors.keys() - network.state_dict().keys())
    load_strictly(network, {name: tensors[name] for name in tensors.keys() - dropped}, entry.url)
    card = ModelCard(
        architecture=architecture,
        options=options,
        classes=classes,
        transform=transform,
        origin=f"torchvision {entry.name} ({entry.url})",
        tensors={"copied": sorted(tensors.keys() - dropped), "dropped": dropped, "initialised": []},
    )
    return network.eval(), card


def _download(architecture: str, entry: Any, options: Mapping[str, Any]) -> nn.Module:
    """Load as torchvision does, which knows the names its older files use."""
    builder = torchvision_models.get_model_builder(architecture)
    try:
        # GoogLeNet refuses to leave auxiliary heads out; they are dropped afterwards.
        asked = {name: value for name, value in options.items() if (name, value) != ("aux_logits", False)}
        loaded: nn.Module = builder(weights=entry, progress=False, **asked)
    except (URLError, ConnectionError, TimeoutError) as error:
        raise UserError(
            f"{entry.url} cannot be downloaded: {error}\n  Without a network, put that file into "
            f"{Path(torch.hub.get_dir()) / 'checkpoints'}, or set source.weights to a file."
        ) from error
    except (RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"{entry} cannot be loaded with model.options {dict(options)}:\n  {error}") from error
    return loaded


def _implied_options(loaded: nn.Module, plain: nn.Module) -> dict[str, Any]:
    """Find what torchvision changes in the network, not in its tensors, when it loads its weights."""
    names = set(inspect.signature(type(plain)).parameters) - {"aux_logits"}
    found = {name: vars(loaded)[name] for name in names & vars(loaded).keys()}
    simple = {name: value for name, value in found.items() if isinstance(value, bool | int | float | str)}
    return {name: value for name, value in simple.items() if value != vars(plain).get(name)}


def _from_file(config: Config, path: Path, transform: Transform) -> tuple[nn.Module, ModelCard]:
    architecture, options = config.model.architecture, dict(config.model.options)
    tensors = read_tensors(path) if path.suffix == ".safetensors" else _unpickled(path)
    network = zoo.build(architecture, 2, transform.channels, seed=0, **options)
    classes = _count_classes(tensors, head_name(network), path)
    attach_heads(network, classes)
    load_strictly(network, tensors, str(path))
    card = ModelCard(
        architecture=architecture,
        options=options,
        classes=tuple(f"class {index}" for index in range(classes)),
        transform=transform,
        origin=f"file {path.name}, SHA-256 {file_hash(path)}",
    )
    return network.eval(), card


def _count_classes(tensors: Mapping[str, torch.Tensor], head: str, path: Path) -> int:
    weight = tensors.get(f"{head}.weight")
    if weight is None:
        raise UserError(
            f"{path} has no {head}.weight, the output layer of the architecture.\n"
            f"  Its last tensors are: {', '.join(list(tensors)[-4:]) or 'none'}. Is model.architecture right?"
        )
    return len(weight)


def _unpickled(path: Path) -> dict[str, torch.Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} contains pickled Python objects, which are not run: {str(error).splitlines()[0]}\n"
            "  Save its state dict alone: torch.save(model.state_dict(), path)"
        ) from error
    except (RuntimeError, EOFError, BadZipFile, ValueError, KeyError) as error:
        raise UserError(f"{path} is not a file of torch.save: {error}") from error
    return _state_dict(content, path)


def _state_dict(content: Any, path: Path) -> dict[str, torch.Tensor]:
    for wrapper in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    tensors = content.items() if isinstance(content, dict) else []
    if not tensors or not all(isinstance(tensor, torch.Tensor) for _, tensor in tensors):
        raise UserError(
            f"{path} holds no state dict (a dictionary of tensors).\n"
            "  Save one: torch.save(model.state_dict(), path)"
        )
    parallel = all(name.startswith(_PARALLEL) for name, _ in tensors)
    return {name.removeprefix(_PARALLEL) if parallel else name: tensor for name, tensor in tensors}


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
