"""A training may know its own pictures and nothing of others: that is said, whatever the cause."""

import math
from collections.abc import Sequence

import numpy as np

from thawline.statistics.intervals import accuracy_interval
from thawline.training.history import Row


def by_heart(history: Sequence[Row], epoch: int, labels: np.ndarray) -> str | None:
    """Say that a training knows its training pictures and is at chance on those that validate it; None where
    that is not so, or there are no others.

    It is at chance where the interval of its validation accuracy begins at or below the share of the
    commonest class (of equally many pictures a class, 1 / classes). It knows its own pictures where
    exp(-loss), the mean probability it gives their labels, lies above that interval.

    Args:
        history: of the training; rows of averaged weights have no training loss, so the last one counts.
        epoch: the one whose weights were kept.
        labels: (N,) of the validation pictures, whole numbers from 0 on.
    """
    accuracy = history[epoch]["val_accuracy"]
    losses = [row["train_loss"] for row in history[: epoch + 1] if math.isfinite(row["train_loss"])]
    if not len(labels) or not losses or not math.isfinite(accuracy):
        return None
    right = np.arange(len(labels)) < round(accuracy * len(labels))
    low, high = accuracy_interval(right[None], confidence=0.95)
    guess = np.bincount(labels).max() / len(labels)
    if low > guess or math.exp(-losses[-1]) <= high:
        return None
    return (
        f"It knows its training pictures (loss {losses[-1]:.3f}), but of {len(labels)} validation pictures "
        f"no more than a guess: {accuracy:.1%} are right (95 % interval {low:.1%} to {high:.1%}); "
        f"always naming the commonest class would be right for {guess:.1%}. Do both parts show the same "
        "things under the same labels? Then lower the learning rates, or freeze more."
    )
