"""Saved models are asked about the test pictures, if they are models for such pictures at all."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import nn

from thawline.artifacts import MODEL
from thawline.config.errors import UserError
from thawline.data.store import Store
from thawline.models.answer import load_answer
from thawline.models.answering import Answering
from thawline.models.card import ModelCard
from thawline.models.checkpoint import load_model
from thawline.models.freezing import state_hashes
from thawline.models.inference import Answers, answers, as_probabilities, logits
from thawline.training.batches import batches


class Asking:
    """Asks saved models about pictures, and no network twice about the test pictures: the bundle's is one of
    a contender's, and where a solved head is the best, two contenders have the same.

    Args:
        test: the store of the test pictures.
        base: the file of the initial target model, which completes the weights of fine-tuned ones.
        batch_size: pictures at once.
    """

    def __init__(self, test: Store, base: Path, batch_size: int, device: torch.device) -> None:
        self.test, self.base, self.device = test, base, device
        self._batch_size = batch_size
        self._known: dict[str, torch.Tensor] = {}

    def probabilities(self, weights: Path, card_path: Path, pictures: Store | None = None) -> np.ndarray:
        """Return (N, C) probabilities of the test pictures, or of others, classes in the store's order.

        Raises `UserError` when the model was made for other classes or other input, or its output is not
        finite.
        """
        network, card = load_model(weights, card_path, self.base)
        store = self.test if pictures is None else pictures
        order = class_order(card, store, weights)
        with _named(weights):
            return as_probabilities(self._logits(network, card, store))[:, order]

    def _logits(self, network: nn.Module, card: ModelCard, store: Store) -> torch.Tensor:
        if store is not self.test:
            return logits(network, batches(store, self._batch_size), self.device)[0].cpu()
        identity = _identity(network, card)
        if identity not in self._known:
            self._known[identity] = logits(network, batches(store, self._batch_size), self.device)[0].cpu()
        return self._known[identity]

    def bundle(self, folder: Path) -> tuple[Answers, list[int], Answering]:
        """Return what the bundle in `folder` answers about the test pictures, for each class of theirs the
        answers' class, and how it answers.

        Raises `UserError` as `probabilities` does, and where the bundle is missing.
        """
        answer, card = load_answer(folder)
        order, identity = class_order(card, self.test, folder / MODEL), _identity(answer.network, card)
        answer.fold()
        with _named(folder / MODEL):
            found = answers(answer, batches(self.test, self._batch_size), self.device)
        self._known[identity] = torch.from_numpy(found.logits)
        return found, order, answer.answering


@contextmanager
def _named(weights: Path) -> Iterator[None]:
    """Let an error of the block say whose answers they were."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{weights}: {error}") from None


def _identity(network: nn.Module, card: ModelCard) -> str:
    """Return what two networks have in common that make the same of every picture."""
    built = (card.architecture, card.options, card.head.name, card.head_cuts, repr(card.adaptation))
    return json.dumps((built, sorted(state_hashes(network).items())), sort_keys=True)


def class_order(card: ModelCard, test: Store, weights: Path) -> list[int]:
    """Return for each class of the store, the model's output of the same name.

    Raises `UserError` unless both have the same class names and the same transform.
    """
    if set(card.classes) != set(test.classes):
        only_model = ", ".join(sorted(set(card.classes) - set(test.classes))) or "none"
        only_test = ", ".join(sorted(set(test.classes) - set(card.classes))) or "none"
        raise UserError(
            f"{weights} was trained for other classes than the test pictures have.\n"
            f"  only in the model: {only_model}\n  only in the test pictures: {only_test}\n"
            "  Fine-tune for these pictures; run: dvc repro"
        )
    if card.transform != test.transform:
        raise UserError(
            f"{weights} was trained on pictures prepared in another way than the test pictures.\n"
            f"  model: {card.transform}\n  test:  {test.transform}\n"
            "  Prepare and fine-tune again; run: dvc repro"
        )
    return [card.classes.index(name) for name in test.classes]
