"""One saved model is asked about the test pictures, if it is a model for such pictures at all."""

from pathlib import Path

import numpy as np
import torch

from thawline.config.errors import UserError
from thawline.data.store import Store
from thawline.models.card import ModelCard
from thawline.models.checkpoint import load_model
from thawline.models.inference import probabilities
from thawline.training.batches import batches


def asked(
    weights: Path, card_path: Path, test: Store, *, base: Path, batch_size: int, device: torch.device
) -> np.ndarray:
    """Return (N, C) probabilities of the test pictures, classes in the store's order. `base` is the file of
    the initial target model, which completes the weights.

    Raises `UserError` when the model was made for other classes or other input, or its output is not
    finite.
    """
    network, card = load_model(weights, card_path, base)
    order = class_order(card, test, weights)
    try:
        found = probabilities(network, batches(test, batch_size), device)
    except UserError as error:
        raise UserError(f"{weights}: {error}") from None
    return found[:, order]


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
