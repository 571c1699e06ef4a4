"""What is answered about a picture, for serving, evaluation and exports alike: one module around a network.

Whoever writes a bundle adds its `Answering` to the card with `save_answering`; `load_answer` opens it again.
"""

from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from thawline.artifacts import CARD, FEATURES, MODEL, atomic_path, file_hash, write_json
from thawline.config.errors import UserError
from thawline.models.adapters.shapes import channel_axis
from thawline.models.answering import Answering
from thawline.models.card import ModelCard, require_described
from thawline.models.checkpoint import load_model, read_tensors
from thawline.models.cuts import logits_of, units
from thawline.models.folding import folded
from thawline.models.layout import layout_of
from thawline.models.splitting import split


class Answer(nn.Module):
    """Answers what `network` makes of pictures: plain tensor operations, which torch.export can follow.

    It shares the network's layers until it is folded. It is made in evaluation mode; only its inference makes
    sense.

    Args:
        network: a classifier of N classes; it is put into evaluation mode.
        answering: temperature, costs and when a picture is unknown.
        features: (M, D) of training pictures at the last cut `as_rows`; without them no picture is unknown.
    """

    features: torch.Tensor | None
    costs: torch.Tensor | None

    def __init__(
        self, network: nn.Module, answering: Answering | None = None, features: torch.Tensor | None = None
    ) -> None:
        super().__init__()
        network.eval()
        self.answering = answering or Answering()
        self.prefix, self.suffix = split(network, len(units(network)))
        self.layout = layout_of(network)
        # not a sub-module: its layers are those of prefix and suffix
        self.__dict__["_network"] = network
        costs = self.answering.costs
        self.register_buffer("features", None if features is None else features.float(), persistent=False)
        self.register_buffer(
            "costs", None if costs is None else torch.tensor(costs, dtype=torch.float32), persistent=False
        )
        self.eval()

    def fold(self) -> None:
        """Answer the same but for rounding, faster, from now on: BatchNorm becomes part of convolutions, and
        the network that was answered for is let go."""
        self.prefix = folded(self.prefix)
        self.__dict__["_network"] = None

    @property
    def network(self) -> nn.Module:
        """The classifier whose layers it shares. Raises `RuntimeError` once it is folded."""
        if self._network is None:
            raise RuntimeError("it was let go when its answer was folded")
        return self._network  # type: ignore[return-value]

    @property
    def threshold(self) -> float | None:
        """The unknown score above which a picture is unknown; None: none ever is."""
        unknown = self.answering.unknown
        return None if unknown is None or self.features is None else unknown.threshold

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Answer about pictures (B, channels, size, size), as the transform and normalisation leave them.

        Returns:
            Calibrated probabilities (B, N), rows with the sum 1; the decision (B,) int64, the index of the
            class that is expected to cost least (the likeliest one where no costs are given); the unknown
            score (B,), from 0 to 2, 0 where the bundle has no features.
        """
        return self.with_logits(pictures)[1:]

    def with_logits(
        self, pictures: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the logits (B, N) float32, and what `forward` makes of them."""
        features = self.prefix(pictures)
        logits = logits_of(self.suffix(features))[0].float()
        probabilities = (logits / self.answering.temperature).softmax(1)
        decision = probabilities.argmax(1) if self.costs is None else (probabilities @ self.costs).argmin(1)
        return logits, probabilities, decision, self._unknown(features, probabilities)

    def _unknown(self, features: torch.Tensor, probabilities: torch.Tensor) -> torch.Tensor:
        if self.features is None or self.answering.unknown is None:
            return torch.zeros_like(probabilities[:, 0])
        return scores(as_rows(features), self.features, self.answering.unknown.neighbours)


def as_rows(features: torch.Tensor) -> torch.Tensor:
    """Return what crosses a cut as rows (B, D) of length 1: the mean over positions of each channel."""
    axis = channel_axis(features.shape)
    positions = [each for each in range(1, features.dim()) if each != axis]
    pooled = features.float().mean(positions) if positions else features.float()
    return functional.normalize(pooled, dim=1)


def scores(rows: torch.Tensor, features: torch.Tensor, neighbours: int) -> torch.Tensor:
    """Return (B,), from 0 to 2: 1 minus the cosine similarity with the `neighbours`-th most similar of
    `features` (M, D). All rows have length 1."""
    similar = rows @ features.T
    return 1 - similar.topk(neighbours, dim=1).values[:, -1]


def save_answering(
    folder: Path, card: ModelCard, answering: Answering, features: torch.Tensor | None = None
) -> ModelCard:
    """Write the features into the bundle in `folder`, and its `card` with `answering`; return that card.

    The features are kept as float16: whoever chooses a threshold rounds them first.
    """
    if features is not None and answering.unknown is not None:
        with atomic_path(folder / FEATURES) as temporary:
            save_file({"features": features.half().contiguous()}, temporary, metadata={"format": "pt"})
        hashed = replace(answering.unknown, features_sha256=file_hash(folder / FEATURES))
        answering = replace(answering, unknown=hashed)
    written = replace(card, answering=answering)
    write_json(folder / CARD, written.to_dict())
    return written


def load_answer(folder: Path) -> tuple[Answer, ModelCard]:
    """Return what the bundle in `folder` answers with, on the CPU, and its card. A bundle that an older
    version wrote has the temperature 1 and knows of no unknown pictures.

    Raises `UserError` when a file is missing, damaged or may not be read, or is not the one that the card
    describes.
    """
    try:
        network, card = load_model(folder / MODEL, folder / CARD)
        return Answer(network, card.answering, _features(folder, card)), card
    except PermissionError as error:
        raise UserError(f"{error.filename} cannot be read: {error.strerror}.") from error


def _features(folder: Path, card: ModelCard) -> torch.Tensor | None:
    unknown = card.answering and card.answering.unknown
    if not unknown:
        return None
    path = folder / FEATURES
    require_described(path, folder / CARD, unknown.features_sha256)
    return read_tensors(path)["features"]
