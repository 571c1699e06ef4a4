"""What anybody who publishes weights gives besides a preset."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch


@dataclass(frozen=True)
class Published:
    """Published `tensors`, the labels of their head in the order of its outputs (none where it has no head),
    and in words where they are from. `options` are arguments of the builder that belong to these weights."""

    tensors: Mapping[str, torch.Tensor]
    classes: tuple[str, ...]
    origin: str
    options: dict[str, Any] = field(default_factory=dict)
