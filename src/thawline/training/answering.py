"""What a fine-tuned network needs to answer honestly, found on pictures that it was not trained on.

The test split has no part in it. A network whose body learned is asked about the validation pictures. Where
nothing but a linear head was solved, every training picture is left out once as well: heads solved on the
other folds say what they make of it, and its distance is that to the others: the body never saw any of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from thawline.config.sections import AugmentationName, Finetune
from thawline.data.store import Store
from thawline.models.answer import Answer, as_rows, scores
from thawline.models.answering import Answering, Unknown
from thawline.models.head_cuts import side_by_side
from thawline.models.inference import at_last_cut
from thawline.models.linear_head import linear_head
from thawline.statistics.conformal import threshold_for
from thawline.statistics.temperature import temperature_of
from thawline.training.batches import batches
from thawline.training.head_cuts import apart, targets_of
from thawline.training.phases import phases_of
from thawline.training.solve.features import CutFeatures
from thawline.training.solve.left_out import FOLDS, folds_of
from thawline.training.solve.logistic import logistic_head
from thawline.training.solve.targets import Targets

NEIGHBOURS = 5
"""Which nearest training picture's distance counts."""

MOST = 5000
"""Training pictures whose features are kept: more are drawn from (13 MB of 1280 numbers each)."""


@dataclass(frozen=True, eq=False)
class HeldOut:
    """What is known of M pictures that were held out: `logits` (M, classes) and `labels` (M,), and how far
    they are from the training pictures, `distances` (M,). `which` says in words which they are."""

    logits: np.ndarray
    labels: np.ndarray
    distances: np.ndarray
    which: str


def answering_of(
    network: nn.Module,
    recipe: Finetune,
    store: Store,
    share: float,
    device: torch.device,
    costs: tuple[tuple[float, ...], ...] | None = None,
    batch_size: int = 64,
) -> tuple[Answering, torch.Tensor]:
    """Return how `network`, the exported model that `recipe` made of the pictures of `store`, is to answer,
    and the features (M, D) of its training pictures as float16.

    Args:
        share: of pictures like the training ones that may be called unknown.
        costs: of each decision, where there are any; they are passed on.
    """
    answer, (train, val) = Answer(network), _parts(store, recipe)
    train, kept = _at_most(train, MOST)
    everything = [
        at_last_cut(answer, batches(part, batch_size), device) for part in (train, val) if len(part)
    ]
    answer.cpu()
    features = as_rows(everything[0][1]).half()
    neighbours = min(NEIGHBOURS, len(features))
    parts = []
    if len(val):
        of_val, there = everything[1]
        near = scores(as_rows(there), features.float(), neighbours)
        parts.append(HeldOut(of_val.numpy(), val.labels, near.numpy(), f"{len(val):,} validation pictures"))
    if kept and solved_alone(network, recipe):
        parts.append(left_out(network, recipe, train, everything[0][1], features.float(), neighbours))
    if not parts:
        reason = "No picture was held out from training, so nothing is known to fit it on."
        return Answering(basis=reason, costs=costs), features
    logits, labels, distances = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("logits", "labels", "distances")
    )
    which = " and ".join(part.which for part in parts)
    threshold, promised = threshold_for(distances, share)
    unknown = Unknown(
        neighbours, threshold, round(promised, 6), len(distances), _words(share, promised, which)
    )
    basis = f"Fitted on {which}."
    return Answering(round(temperature_of(logits, labels), 6), basis, unknown, costs), features


def solved_alone(network: nn.Module, recipe: Finetune) -> bool:
    """Tell whether a solved head is all that `recipe` makes of `network`, on its pictures as they are."""
    phases = phases_of(recipe, network)
    return phases[-1].solved and recipe.augmentation is AugmentationName.none and bool(linear_head(network))


def left_out(
    network: nn.Module,
    recipe: Finetune,
    train: Store,
    features: torch.Tensor,
    rows: torch.Tensor,
    neighbours: int,
) -> HeldOut:
    """Leave every training picture out once, with its group.

    Its logits are those of a head solved on four fifths of the pictures, with the penalty of the head on all
    of them; its distance is that to all pictures but its group.

    Args:
        features: (N, ...) as the head of `network` reads them.
        rows: (N, D) the same of length 1.
    """
    flat, together = features.flatten(1).numpy(), side_by_side(network)
    cuts = [CutFeatures(flat)] if together is None else apart(flat, together.widths)
    targets = targets_of(train, len(train.classes), recipe)
    logits = _left_out_logits(cuts, targets, recipe.head_penalty)
    similar = rows @ rows.T
    group = torch.from_numpy(targets.together)
    similar[group[:, None] == group] = -1
    counted = min(neighbours, len(rows) - int(np.bincount(targets.together).max()))
    near = 1 - similar.topk(max(counted, 1), dim=1).values[:, -1]
    which = f"{len(train):,} training pictures, each left out once"
    return HeldOut(logits, train.labels, near.numpy(), which)


def _left_out_logits(cuts: Sequence[CutFeatures], targets: Targets, penalty: float | None) -> np.ndarray:
    penalty = logistic_head(cuts, targets, penalty=penalty).penalty
    logits = np.zeros((len(targets.labels), targets.classes))
    for out in folds_of(targets, FOLDS, 0):
        taught, asked = ([CutFeatures(cut.values[which]) for cut in cuts] for which in (~out, out))
        logits[out] = logistic_head(taught, targets.rows(~out), penalty=penalty).logits(asked)
    return logits


def _parts(store: Store, recipe: Finetune) -> tuple[Store, Store]:
    """Return the pictures that `recipe` trains on, and those it leaves for validation."""
    if recipe.refit:
        store = store.divided(np.arange(len(store)), np.arange(0))
    return store.part("train"), store.part("val")


def _at_most(train: Store, most: int) -> tuple[Store, bool]:
    """Return the training pictures, or so many of them drawn at random; and whether they are all."""
    if len(train) <= most:
        return train, True
    rows = np.sort(np.random.default_rng(0).permutation(len(train))[:most])
    return train.divided(rows, np.arange(0)), False


def _words(share: float, promised: float, which: str) -> str:
    """Say what is promised, and where fewer were asked for than so few pictures can promise."""
    less = f", and so few cannot promise {share:.1%}" if promised > share else ""
    return f"At most {promised:.1%} of pictures like the training ones, by {which}{less}."
