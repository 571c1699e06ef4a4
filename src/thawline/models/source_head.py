"""What the source model's own head says of a few target pictures: are its weights this network's?

Names and shapes of weights fit other networks as well, of other padding, normalisation or epsilon. Such a
network sees something, but less. How sure it is depends on the pictures too, so that what is found is said
and nothing is refused (docs/sources.md has figures).
"""

import logging
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from thawline.data.batches import Batches
from thawline.data.store import Store
from thawline.models.card import ModelCard
from thawline.models.head import head_parameters
from thawline.models.inference import logits

PICTURES = 32
"""As many are shown, and as many of classes that the source knows, in one pass."""

log = logging.getLogger(__name__)


def source_head(network: nn.Module, card: ModelCard, store: Store) -> dict[str, Any] | None:
    """Return what the head of the source model says of training pictures of the target, and log it; None
    where the weights came without a head.

    `doubt` is the mean entropy of its answers, as a share of that of guessing, to two digits; None where an
    output is no number. Where labels of both tasks are equal, `accuracy` is its share of right answers, among
    all its classes, for `known` pictures of these.
    """
    if not has_head(network, card):
        return None
    train = store.part("train")
    same = same_classes(card.classes, store.classes)
    known = np.flatnonzero(np.isin(train.labels, list(same)))
    rows = np.union1d(_spread(np.arange(len(train))), _spread(known))
    shown = Batches(train.images[rows], train.labels[rows], store.transform, PICTURES, shuffle=False)
    answers, labels = logits(network, shown, "cpu")
    found: dict[str, Any] = {"pictures": len(rows), "classes": len(card.classes), "doubt": doubt(answers)}
    pairs = zip(labels.tolist(), answers.argmax(1).tolist(), strict=True)
    right = [same[label] == said for label, said in pairs if label in same]
    if right:
        found |= {"known": len(right), "accuracy": round(float(np.mean(right)), 2)}
    _say(found)
    return found


def has_head(network: nn.Module, card: ModelCard) -> bool:
    """Tell whether the weights of a source model came with a head that knows several classes."""
    untrained = {*card.tensors.get("initialised", ())} & head_parameters(network)
    return not untrained and len(card.classes) > 1


def same_classes(source: Sequence[str], target: Sequence[str]) -> dict[int, int]:
    """Return by the number of each target class that of the source class of the same name, or one of whose
    names (separated by commas) it is; case, `_` and `-` do not matter, and no name of two classes counts."""
    numbers: dict[str, set[int]] = {}
    for number, names in enumerate(source):
        for name in {names, *names.split(",")}:
            numbers.setdefault(_plain(name), set()).add(number)
    found = {index: numbers.get(_plain(name), set()) for index, name in enumerate(target)}
    return {index: next(iter(each)) for index, each in found.items() if len(each) == 1}


def doubt(answers: torch.Tensor) -> float | None:
    """Return the mean entropy of answers, (N, classes) logits, divided by that of guessing: 0..1, to two
    digits; None where one is not a number."""
    shares = answers.double().softmax(1)
    entropy = float(torch.special.entr(shares).sum(1).mean()) / math.log(answers.shape[1])
    return round(entropy, 2) if math.isfinite(entropy) else None


def _say(found: dict[str, Any]) -> None:
    of = f"the source model's own head on {found['pictures']} training pictures"
    if found["doubt"] is None:
        log.warning("%s: its answers are no numbers; are these this network's weights?", of)
        return
    known = (
        f"; {found['accuracy']:.0%} right of {found['known']} whose class it has" if "known" in found else ""
    )
    share, classes = 100 * found["doubt"], found["classes"]
    log.info("%s: it is %.0f %% as unsure as by guessing among %d classes%s", of, share, classes, known)


def _spread(rows: np.ndarray) -> np.ndarray:
    """Return `PICTURES` of `rows`, evenly spaced; all where there are fewer."""
    places = np.linspace(0, len(rows) - 1, min(PICTURES, len(rows)))
    return rows[places.round().astype(int)]


def _plain(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())
