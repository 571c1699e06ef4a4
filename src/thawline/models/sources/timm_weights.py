"""The weights that timm publishes, loaded by timm from where it keeps them, with their preset."""

from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Any

import torch

from thawline.config.errors import UserError, first_line
from thawline.data.transform import Transform
from thawline.models.lean import load_timm
from thawline.models.sources.published import Published

timm = load_timm()

_FIT = {"center": "crop", "squash": "squash"}
"""timm's word for how a picture becomes square, and ours. A border in the mean's colour we have not."""


def transform_of(name: str, weights: str) -> Transform:
    """Return the preset of timm's `weights` for the model `name`: side, crop, interpolation, mean and std.

    `weights` is a tag of timm's (`a1_in1k`), or DEFAULT: the one in `name`, else timm's first.
    Raises `UserError` for unknown names, and for presets whose pictures are not square or not RGB.
    """
    preset = timm.data.resolve_data_config(pretrained_cfg=_entry(name, weights).to_dict())
    channels, height, width = preset["input_size"]
    if height != width or channels != 3:
        raise UserError(
            f"timm:{name} was trained on {channels} x {height} x {width}, which cannot be prepared.\n"
            "  Choose an architecture for square pictures in colour."
        )
    if preset["crop_mode"] not in _FIT:
        raise UserError(
            f"timm:{name} was trained with a border around each picture, which cannot be prepared.\n"
            "  Choose another architecture."
        )
    return Transform(
        size=height,
        # rounded as timm rounds it
        resize=int(height / preset["crop_pct"]),
        channels=channels,
        fit=_FIT[preset["crop_mode"]],
        interpolation=preset["interpolation"],
        mean=tuple(preset["mean"]),
        std=tuple(preset["std"]),
    )


def load(name: str, weights: str, options: Mapping[str, Any]) -> Published:
    """Return what timm publishes as `weights` for the model `name`, downloaded to where timm keeps its files.

    Raises `UserError` for unknown names, options that do not fit, and when the file cannot be had.
    """
    entry = _entry(name, weights)
    try:
        network = timm.create_model(
            f"{entry.architecture}.{entry.tag}" if entry.tag else entry.architecture,
            **{**options, "pretrained": True, "num_classes": entry.num_classes},
        )
    except OSError as error:
        raise UserError(_without_a_network(entry, error)) from error
    except (RuntimeError, TypeError, ValueError, AssertionError, KeyError) as error:
        raise UserError(
            f"timm:{name} {entry.tag} cannot be loaded with model.options {dict(options)}:\n  {error}"
        ) from error
    origin = f"timm {entry.architecture} {entry.tag} ({entry.hf_hub_id or entry.url})"
    return Published(network.state_dict(), class_names(entry.num_classes), origin)


def class_names(number: int) -> tuple[str, ...]:
    """Return the words for ImageNet's classes, where so many outputs are one of its sets, else numbers."""
    subset = timm.data.infer_imagenet_subset({"num_classes": number})
    if subset is None:
        return tuple(f"class {index}" for index in range(number))
    info = timm.data.ImageNetInfo(subset)
    return tuple(info.index_to_description(index) for index in range(number))


def _entry(name: str, weights: str) -> Any:
    """Return timm's description of the weights, which has a place they can be had from."""
    found = timm.models
    architecture, tag = found.split_model_name_tag(name)
    if not found.is_model(architecture):
        raise UserError(f"There is no timm model {name!r}.")
    wanted = tag if weights == "DEFAULT" else weights
    entries = {
        entry.tag: entry
        for entry in found.get_arch_pretrained_cfgs(architecture).values()
        if entry.has_weights
    }
    default = found.get_pretrained_cfg(architecture)
    if not wanted and default is not None and default.has_weights:
        return default
    if wanted not in entries:
        raise UserError(
            f"timm:{name} has no weights {weights!r}.\n"
            f"  published: {', '.join(map(str, entries)) or 'none'}; or give the path of a file"
        )
    return entries[wanted]


def _without_a_network(entry: Any, error: OSError) -> str:
    """Say which file to put where so that timm finds it."""
    reason = first_line(error)
    if not entry.hf_hub_id:
        place = Path(torch.hub.get_dir()) / "checkpoints"
        return f"{entry.url} cannot be downloaded: {reason}\n  Without a network, put that file into {place}."
    from huggingface_hub.constants import HF_HUB_CACHE

    repository, _, revision = entry.hf_hub_id.partition("@")
    file = entry.hf_hub_filename or "model.safetensors"
    branch = revision or "main"
    folder = quote(str(Path(HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"))
    return (
        f"https://huggingface.co/{repository}/resolve/{branch}/{file} cannot be downloaded: {reason}\n"
        f"  Without a network, bring that file here and put it where timm looks for it:\n"
        f"  mkdir -p {folder}/refs {folder}/snapshots/local && cp {file} {folder}/snapshots/local/ && "
        f"printf local > {folder}/refs/{branch}"
    )
