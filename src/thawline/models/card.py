"""The card of a model: everything about it but its tensors, as JSON beside them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from thawline.artifacts import file_hash, how_to_restore, missing, read_json
from thawline.config.choices import HeadVariant
from thawline.config.errors import UserError
from thawline.data.transform import Transform
from thawline.models.adapters.adaptation import Adaptation
from thawline.models.answering import Answering


@dataclass(frozen=True)
class ModelCard:
    """Everything about a model but its tensors.

    `options` are the builder's; `classes` are the labels in the order of the logits; `origin` says in
    words where the weights came from; `source_hash` is the SHA-256 of the source model's file;
    `tensors` lists the names `copied`, `dropped` and `initialised`; `head` is the variant of the head, and
    `head_cuts` are the depths of the cuts that it reads (none: a network's own);
    `weights` maps the name of each file that belongs to this card to its SHA-256 (several fine-tunings
    of one recipe share a card). `adaptation` says what was added to the architecture, `base` is the
    SHA-256 of the file of the model whose tensors complete those in `weights` (None: they are complete).
    `answering` says how logits become answers (None: the card is of no bundle, or of an older version's).
    """

    architecture: str
    options: dict[str, Any]
    classes: tuple[str, ...]
    transform: Transform
    origin: str
    source_hash: str | None = None
    tensors: dict[str, list[str]] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    head: HeadVariant = HeadVariant.linear
    head_cuts: tuple[int, ...] = ()
    weights: dict[str, str] = field(default_factory=dict)
    base: str | None = None
    adaptation: Adaptation | None = None
    answering: Answering | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the card as JSON-like values, without `answering` where there is none; `from_dict` undoes
        it."""
        values = asdict(self) | {
            "classes": list(self.classes),
            "transform": self.transform.to_dict(),
            "head": self.head.name,
            "head_cuts": list(self.head_cuts),
            "adaptation": None if self.adaptation is None else self.adaptation.to_dict(),
        }
        # a card of no bundle says what it said before there were answers
        del values["answering"]
        return values if self.answering is None else {**values, "answering": self.answering.to_dict()}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "ModelCard":
        """Make a card of what `to_dict` gave.

        Raises `ValueError`, `TypeError` or `KeyError` when a field is missing, unknown or damaged.
        """
        names = {item.name for item in fields(cls)}
        value = {"answering": None, **value}
        if value.keys() != names:
            raise ValueError(f"fields differ: {', '.join(sorted(names ^ value.keys()))}")
        parsed = {
            "classes": tuple(value["classes"]),
            "transform": Transform.from_dict(value["transform"]),
            "head": HeadVariant[value["head"]],
            "head_cuts": tuple(value["head_cuts"]),
            "adaptation": value["adaptation"] and Adaptation.from_dict(value["adaptation"]),
            "answering": value["answering"] and Answering.from_dict(value["answering"]),
        }
        return cls(**{**value, **parsed})


def require_described(path: Path, card_path: Path, wanted: str | None) -> None:
    """Raise `UserError` unless the file at `path` is there and has the SHA-256 `wanted`, which the card at
    `card_path` gives it."""
    if not path.is_file():
        raise missing(path)
    if file_hash(path) != wanted:
        raise UserError(
            f"{path} is not the file that {card_path} describes: its SHA-256 differs.\n"
            "  Restore both, or delete them and run: dvc repro"
        )


def read_card(path: Path) -> ModelCard:
    """Read the card at `path`. Raises `UserError` when it is missing, cannot be read or is no model card."""
    try:
        return ModelCard.from_dict(read_json(path))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path} is not a model card: {error}.\n  {how_to_restore(path)}") from error
