"""A model on disk: its tensors as safetensors, and a JSON card that is enough to build it again."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from thawline.artifacts import atomic_path, file_hash, missing, read_json, write_json
from thawline.config.errors import UserError
from thawline.data.transform import Transform
from thawline.models import zoo
from thawline.models.accounting import require_match
from thawline.models.head import HeadVariant, attach_heads


@dataclass(frozen=True)
class ModelCard:
    """Everything about a model but its tensors.

    `options` are the builder's; `classes` are the labels in the order of the logits; `origin` says in
    words where the weights came from; `source_hash` is the SHA-256 of the source model's file;
    `tensors` lists the names `copied`, `dropped` and `initialised`; `head` is the variant of the head;
    `weights` maps the name of each file that belongs to this card to its SHA-256 (several fine-tunings
    of one recipe share a card).
    """

    architecture: str
    options: dict[str, Any]
    classes: tuple[str, ...]
    transform: Transform
    origin: str
    source_hash: str | None = None
    tensors: dict[str, list[str]] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    head: str = "linear"
    weights: dict[str, str] = field(default_factory=dict)

    @property
    def channels(self) -> int:
        """Of the network's input."""
        return self.transform.channels

    def to_dict(self) -> dict[str, Any]:
        """JSON-like; `from_dict` undoes it."""
        return asdict(self) | {"classes": list(self.classes), "transform": self.transform.to_dict()}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "ModelCard":
        """Raises `ValueError` when a field is missing or unknown."""
        names = {item.name for item in fields(cls)}
        if value.keys() != names:
            raise ValueError(f"fields differ: {', '.join(sorted(names ^ value.keys()))}")
        transform = Transform.from_dict(value["transform"])
        return cls(**{**value, "classes": tuple(value["classes"]), "transform": transform})


def save_model(path: Path, card_path: Path, network: nn.Module, card: ModelCard) -> ModelCard:
    """Write the tensors to `path` as safetensors and the card to `card_path`, each atomically.

    The card is written last and gains the file's hash; the hashes of other files stay if the card
    says the same otherwise. Returns the card as written. Equal models give equal bytes.
    """
    with atomic_path(path) as temporary:
        save_file(_independent(network.state_dict()), temporary, metadata={"format": "pt"})
    others = _other_weights(card_path, card.to_dict())
    written = replace(card, weights={**others, path.name: file_hash(path)})
    write_json(card_path, written.to_dict())
    return written


def load_model(path: Path, card_path: Path) -> tuple[nn.Module, ModelCard]:
    """The network in evaluation mode, on the CPU, and its card. Draws no random numbers.

    Raises `UserError` when a file is missing or damaged, the two do not belong together, or a tensor
    does not fit (with sorted +/- lists).
    """
    card = read_card(card_path)
    if not path.is_file():
        raise missing(path)
    if card.weights.get(path.name) != file_hash(path):
        raise UserError(
            f"{path} is not the file that {card_path} describes: its SHA-256 differs.\n"
            "  Restore both, or delete them and run: dvc repro"
        )
    network = build_random(card)
    load_strictly(network, read_tensors(path), str(path))
    return network.eval(), card


def build_random(card: ModelCard, seed: int = 0) -> nn.Module:
    """The network a card describes, randomly initialised by `seed`; the global generator is spared."""
    network = zoo.build(card.architecture, len(card.classes), card.channels, seed=seed, **card.options)
    if card.head != "linear":
        attach_heads(network, len(card.classes), cast(HeadVariant, card.head), seed)
    return network


def read_card(path: Path) -> ModelCard:
    """The card at `path`. Raises `UserError` when it is missing or is not a model card."""
    try:
        return ModelCard.from_dict(read_json(path))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path} is not a model card: {error}.\n  Delete it and run: dvc repro") from error


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a .safetensors file. Raises `UserError` when it is not one."""
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} cannot be read as safetensors: {error}.") from error


def load_strictly(network: nn.Module, tensors: Mapping[str, torch.Tensor], origin: str) -> None:
    """Copy `tensors` into `network`; `UserError` with sorted +/- lists unless every one fits."""
    require_match(tensors, network.state_dict(), origin)
    network.load_state_dict(dict(tensors), strict=True)


def _other_weights(card_path: Path, card: dict[str, Any]) -> dict[str, str]:
    """Hashes of the other files that share the card, unless it says something else than `card`."""
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
