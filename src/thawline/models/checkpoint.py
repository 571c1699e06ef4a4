"""A model on disk: its tensors as safetensors, and a JSON card that is enough to build it again."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from thawline.artifacts import atomic_path, file_hash, missing, read_json, write_json
from thawline.config.choices import HeadVariant
from thawline.config.errors import UserError
from thawline.models import zoo
from thawline.models.accounting import require_match
from thawline.models.adapters.adapt import adapt, adaptation_in
from thawline.models.adapters.weights import plain_name
from thawline.models.card import ModelCard, read_card, require_described
from thawline.models.head import attach_heads
from thawline.models.head_cuts import cuts_read, read_cuts
from thawline.models.state import load_state, tensors_of


def save_model(
    path: Path, card_path: Path, network: nn.Module, card: ModelCard, base: Path | None = None
) -> ModelCard:
    """Write the tensors to `path` as safetensors and the card to `card_path`, each atomically.

    With `base`, the file of the model that `network` was made from, only those tensors are written that
    are not in it or differ in a bit; the card then names it by its hash, and `load_model` needs it again.

    The card is written last. It gains the file's hash, the cuts that the head reads and what `adapt` added to
    the network; the hashes of other files stay if the card says the same otherwise. Returns the card as
    written. Equal models give equal bytes.
    """
    tensors = _independent(tensors_of(network))
    if base is not None:
        tensors = _not_in(read_tensors(base), tensors)
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={"format": "pt"})
    base_hash = None if base is None else file_hash(base)
    known = replace(card, base=base_hash, head_cuts=cuts_read(network), adaptation=adaptation_in(network))
    others = _other_weights(card_path, known.to_dict())
    written = replace(known, weights={**others, path.name: file_hash(path)})
    write_json(card_path, written.to_dict())
    return written


def load_model(path: Path, card_path: Path, base: Path | None = None) -> tuple[nn.Module, ModelCard]:
    """Return the network in evaluation mode, on the CPU, and its card; draw no random numbers.

    Where the card names a base, its tensors complete those of `path`; otherwise `base` is not read.

    Raises `UserError` when a file is missing or damaged, they do not belong together, or a tensor
    does not fit (with sorted +/- lists).
    """
    card = read_card(card_path)
    require_described(path, card_path, card.weights.get(path.name))
    network = build_random(card)
    tensors = read_tensors(path)
    if card.base is not None:
        tensors = _completed(tensors, _base_tensors(path, card.base, base), network)
    load_strictly(network, tensors, str(path))
    return network.eval(), card


def build_random(card: ModelCard, seed: int = 0) -> nn.Module:
    """Build the network a card describes, initialised by `seed`; the global generator is spared."""
    classes, channels = len(card.classes), card.transform.channels
    network = zoo.build(card.architecture, classes, channels, seed=seed, **card.options)
    if card.head is not HeadVariant.linear:
        attach_heads(network, classes, card.head, seed)
    network = read_cuts(network, card.head_cuts, seed=seed)
    return network if card.adaptation is None else adapt(network, card.adaptation, seed=seed)


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read the tensors of a .safetensors file. Raises `UserError` when it is not one."""
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} cannot be read as safetensors: {error}.") from error


def load_strictly(network: nn.Module, tensors: Mapping[str, torch.Tensor], origin: str) -> None:
    """Copy `tensors` into `network`. Raises `UserError` with sorted +/- lists unless every one fits."""
    require_match(tensors, tensors_of(network), origin)
    load_state(network, tensors)


def _not_in(base: Mapping[str, torch.Tensor], tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {
        name: tensor
        for name, tensor in tensors.items()
        if (old := base.get(name, base.get(plain_name(name)))) is None or not _same_bits(old, tensor)
    }


def _same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    # torch.equal takes 0 and -0 for equal, and no NaN for itself.
    same_kind = (one.dtype, one.shape) == (other.dtype, other.shape)
    return same_kind and torch.equal(*(each.reshape(-1).view(torch.uint8) for each in (one, other)))


def _base_tensors(path: Path, wanted: str, base: Path | None) -> dict[str, torch.Tensor]:
    if base is None:
        raise UserError(
            f"{path} holds only what differs from its base, the model it was fine-tuned from, and no base is "
            f"given.\n  wanted: the file with SHA-256 {wanted}, which stage replace_head made\n"
            "  Or take the model that stage export makes: it is complete."
        )
    if not base.is_file():
        raise missing(base)
    if file_hash(base) != wanted:
        raise UserError(
            f"{base} is not the base of {path}, the model it was fine-tuned from.\n"
            f"  wanted: SHA-256 {wanted}\n  found:  SHA-256 {file_hash(base)}\n"
            "  Restore it, or fine-tune again; run: dvc repro"
        )
    return read_tensors(base)


def _completed(
    tensors: dict[str, torch.Tensor], base: dict[str, torch.Tensor], network: nn.Module
) -> dict[str, torch.Tensor]:
    """Add to `tensors` those of `base` that they do not replace, under their names in `network`."""
    names = {plain_name(name): name for name in network.state_dict()}
    return {names.get(name, name): tensor for name, tensor in base.items()} | tensors


def _other_weights(card_path: Path, card: dict[str, Any]) -> dict[str, str]:
    """Return the hashes of the other files that share the card, unless it says something else than `card`."""
    old = read_json(card_path) if card_path.is_file() else {}
    as_read = json.loads(json.dumps(card))
    shared = isinstance(old, dict) and {**old, "weights": None} == {**as_read, "weights": None}
    return dict(old["weights"]) if shared else {}


def _independent(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    # safetensors refuses tensors that share memory, as tied weights do.
    return {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in state.items()
    }
