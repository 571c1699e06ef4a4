"""Architectures by name: torchvision's classification builders, timm's models, any class."""

import difflib
import importlib
import inspect
import typing
from collections.abc import Callable, Iterable
from typing import Any

from torch import nn
from torch.nn.modules.conv import _ConvNd

from thawline.config.errors import UserError
from thawline.models.lean import load_timm, torchvision, torchvision_models
from thawline.models.randomness import own_randomness

TIMM = "timm:"
"""What the names of timm's models begin with here."""


def build(
    architecture: str, num_classes: int, channels: int = 3, *, seed: int | None = None, **options: Any
) -> nn.Module:
    """Build a randomly initialised network that maps `(B, channels, H, W)` to `(B, num_classes)` logits.

    `architecture` is the name of a torchvision classification builder (`resnet18`), a timm model
    (`timm:resnet18`) or the dotted path of a class or function that takes `num_classes`
    (`package.module.Class`). `options` are further keyword arguments. With other than 3 channels the
    first convolution is given as many inputs, unless an option did so already. Auxiliary heads are left
    out unless the option `aux_logits` asks for them.

    `seed` decides the initialisation and spares the global generator; without it, the global generator
    decides. Raises `UserError` for unknown names and options.
    """
    builder = _builder(architecture)
    if seed is not None:
        with own_randomness(seed):
            return _built(architecture, builder, num_classes, channels, options)
    return _built(architecture, builder, num_classes, channels, options)


def _built(
    architecture: str, builder: Callable[..., Any], num_classes: int, channels: int, options: dict[str, Any]
) -> nn.Module:
    try:
        network = builder(num_classes=num_classes, **options)
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        given = ", ".join(f"{name}={value!r}" for name, value in options.items())
        raise UserError(
            f"{architecture} cannot be built with num_classes={num_classes}{', ' if given else ''}{given}:\n"
            f"  {error}"
        ) from error
    if not isinstance(network, nn.Module):
        raise UserError(f"{architecture} made a {type(network).__name__}, not a torch.nn.Module.")
    if channels != 3:
        _adapt_channels(network, architecture, channels)
    return network


def architectures() -> list[str]:
    """Return the names of torchvision's classification builders, sorted."""
    return torchvision_models.list_models(module=torchvision_models)


def _builder(architecture: str) -> Callable[..., Any]:
    if architecture.startswith(TIMM):
        return _timm_builder(architecture.removeprefix(TIMM))
    if "." in architecture:
        return _from_path(architecture)
    if architecture not in architectures():
        raise _unknown("torchvision architecture", architecture, architectures())
    return _without_weights(torchvision_models.get_model_builder(architecture))


def _without_weights(builder: Callable[..., Any]) -> Callable[..., Any]:
    def build_random(**options: Any) -> nn.Module:
        if options.get("weights") is not None:
            raise ValueError("weights are not an option: set source.weights")
        # Where a class leaves open whether to initialise, it warns.
        choices = {"init_weights": True, "aux_logits": False}
        accepted = {name: choices[name] for name in choices.keys() & made_by(builder)}
        return builder(**{**accepted, **options, "weights": None})

    return build_random


def made_by(builder: Callable[..., Any]) -> list[str]:
    """Return the names of the arguments of the class that a torchvision builder makes."""
    return list(inspect.signature(typing.get_type_hints(builder)["return"]).parameters)


def _timm_builder(name: str) -> Callable[..., Any]:
    timm = load_timm()
    if not timm.is_model(name):
        raise _unknown("timm model", name, timm.list_models())

    def build_timm(**options: Any) -> nn.Module:
        return timm.create_model(name, **{**options, "pretrained": False})

    return build_timm


def _from_path(path: str) -> Callable[..., Any]:
    module_name, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise UserError(
            f"{path} cannot be imported: {error}\n"
            "  Give an importable package.module.Class, or the name of a torchvision builder (resnet18)."
        ) from error
    if not callable(found):
        raise UserError(f"{path} is a {type(found).__name__}, not a class or function that makes a network.")
    return typing.cast(Callable[..., Any], found)


def _unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    near = difflib.get_close_matches(name, list(known), n=5, cutoff=0.4)
    hint = (
        f"nearest: {', '.join(near)}" if near else f"see the {kind}s of torchvision {torchvision.__version__}"
    )
    return UserError(f"There is no {kind} {name!r}.\n  {hint}")


def _adapt_channels(network: nn.Module, architecture: str, channels: int) -> None:
    first = next((module for module in network.modules() if isinstance(module, _ConvNd)), None)
    if first is not None and first.in_channels == channels:
        return
    if first is None or first.in_channels != 3 or first.groups != 1:
        raise UserError(
            f"{architecture} cannot be given pictures of {channels} channel(s): its first layer is not a "
            "convolution of 3.\n  Set input.channels: 3 (gray pictures are repeated three times)."
        )
    first.in_channels = channels
    first.weight = nn.Parameter(first.weight.new_empty(first.out_channels, channels, *first.kernel_size))
    first.reset_parameters()
