"""The weights that torchvision publishes, and how pictures are shown to them."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torch import nn

from thawline.config.errors import UserError
from thawline.data.transform import Transform
from thawline.models import zoo
from thawline.models.lean import torchvision_models
from thawline.models.sources.published import Published


def transform_of(architecture: str, weights: str) -> Transform:
    """Return the transform that published `weights` were trained with: their own preset, for RGB.

    Raises `UserError` for unknown names.
    """
    preset = _entry(architecture, weights).transforms()
    return Transform(
        size=preset.crop_size[0],
        resize=preset.resize_size[0],
        channels=len(preset.mean),
        fit="crop",
        interpolation=preset.interpolation.value,
        mean=tuple(preset.mean),
        std=tuple(preset.std),
    )


def load(architecture: str, weights: str, options: Mapping[str, Any]) -> Published:
    """Return what torchvision publishes as `weights`, downloaded to where it keeps its files.

    Raises `UserError` for unknown names, options that do not fit, and when the file cannot be had.
    """
    entry = _entry(architecture, weights)
    classes = tuple(entry.meta["categories"])
    loaded = _download(architecture, entry, options)
    implied = _implied_options(loaded, zoo.build(architecture, len(classes), seed=0, **options))
    return Published(loaded.state_dict(), classes, f"torchvision {entry.name} ({entry.url})", implied)


def _entry(architecture: str, weights: str) -> Any:
    """Return the entry of torchvision's weights enumeration, such as `ResNet18_Weights.IMAGENET1K_V1`."""
    if architecture not in zoo.architectures():
        raise UserError(
            f"No weights are published for {architecture}.\n  Set source.weights to the path of a file."
        )
    known = torchvision_models.get_model_weights(architecture)
    if weights not in known.__members__:
        raise UserError(
            f"{architecture} has no weights {weights!r}.\n"
            f"  published: {', '.join(known.__members__)}, or give the path of a file"
        )
    return known[weights]


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
