"""What a bundle's card says of its answers: temperature, when a picture is unknown, what mistakes cost."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Unknown:
    """When a picture is unlike what the network was trained on.

    A picture's score is 1 minus the cosine similarity of its features with the `neighbours`-th most similar
    of the training pictures' (Sun and others 2022, Out-of-distribution detection with deep nearest
    neighbours): from 0 to 2. Above `threshold` it is unknown. `share` is how many pictures like the training
    ones are called so at most, by the scores of `held_out` pictures; `basis` says in a sentence which these
    were, and whether the share is a promise. `features_sha256` is the hash of the file with the features.
    """

    neighbours: int
    threshold: float
    share: float
    held_out: int
    basis: str
    features_sha256: str = ""


@dataclass(frozen=True)
class Answering:
    """How a network's logits become answers.

    Logits are divided by `temperature` before the softmax (1: they stay as they are); `basis` says in a
    sentence what it was fitted on. `costs[t][d]` is what decision d costs where the class is t, in the order
    of the card's classes; None: every mistake costs the same, and the likeliest class is the decision.
    """

    temperature: float = 1.0
    basis: str = "Not fitted."
    unknown: Unknown | None = None
    costs: tuple[tuple[float, ...], ...] | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ValueError(f"the temperature {self.temperature} is not above 0")

    def to_dict(self) -> dict[str, Any]:
        """Return it JSON-like; `from_dict` undoes it."""
        return {**asdict(self), "costs": self.costs and [list(row) for row in self.costs]}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "Answering":
        """Make it of what `to_dict` gave. Raises `ValueError` or `TypeError` where that is damaged."""
        costs = value["costs"]
        parsed = {
            "unknown": value["unknown"] and Unknown(**value["unknown"]),
            "costs": None if costs is None else tuple(tuple(map(float, row)) for row in costs),
        }
        return cls(**{**value, **parsed})
