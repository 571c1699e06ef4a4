"""What a fine-tuned network needs to answer honestly, found on pictures that it was not trained on.

The test split has no part in it. A network whose body learned is asked about the validation pictures. Where
nothing but a linear head was solved, every training picture is left out once as well: heads solved on the
other folds say what they make of it, and its distance is that to the others: the body never saw any of them.
Where a body learned from all pictures, the trial that chose the recipe was asked about those left out of it.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from thawline.config.sections import Finetune, Trainer
from thawline.data.augment import FIXED
from thawline.data.costs import Costs
from thawline.data.store import Store, groups_of
from thawline.models.answer import Answer, as_rows, scores
from thawline.models.answering import Answering, Unknown
from thawline.models.cuts import logits_of, units
from thawline.models.head_cuts import side_by_side
from thawline.models.inference import at_last_cut
from thawline.models.linear_head import linear_head
from thawline.statistics.conformal import threshold_for
from thawline.statistics.temperature import temperature_of
from thawline.training.batches import batches
from thawline.training.features.cache import PrefixCache, features
from thawline.training.head_cuts import apart, targets_of
from thawline.training.phases import phases_of
from thawline.training.solve.features import rotated, standardised
from thawline.training.solve.head import penalty_path
from thawline.training.solve.left_out import FOLDS, folds_of, in_order, path_of
from thawline.training.solve.left_out import left_out as asked_of
from thawline.training.solve.targets import Targets

NEIGHBOURS = 5
"""Which nearest training picture's distance counts."""

MOST = 5000
"""Training pictures whose features are kept: more are drawn from (13 MB of 1280 numbers each)."""

_SAID = ("logits", "labels")

Ask = Callable[[Store], tuple[torch.Tensor, torch.Tensor]]
"""What asks a network about pictures: see `inference.at_last_cut`."""


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
    costs: Costs | None = None,
    batch_size: int = 64,
    searched: Path | None = None,
    ask: Ask | None = None,
) -> tuple[Answering, torch.Tensor]:
    """Return how `network`, the exported model that `recipe` made of the pictures of `store`, is to answer,
    and the features (M, D) of its training pictures as float16.

    Args:
        share: of pictures like the training ones that may be called unknown.
        costs: of each decision, where there are any; they are passed on.
        searched: the file of what the trial that chose `recipe` said of left-out pictures; it need not exist.
        ask: what asks `network`; None: it is shown the pictures.
    """
    answer, (train, val) = Answer(network), _parts(store, recipe)
    train, kept = _at_most(train, MOST)
    ask = ask or (lambda part: at_last_cut(answer, batches(part, batch_size), device))
    asked = [ask(part) for part in (train, val) if len(part)]
    answer.cpu()
    kept_features = as_rows(asked[0][1]).half()
    rows, neighbours = kept_features.float(), min(NEIGHBOURS, len(kept_features))
    found = []
    if len(val):
        near = scores(as_rows(asked[1][1]), rows, neighbours).numpy()
        found.append(HeldOut(asked[1][0].numpy(), val.labels, near, f"{len(val):,} validation pictures"))
    cuts, targets = _as_solved(network, asked[0][1]), targets_of(train, len(train.classes), recipe)
    # where each class has one picture, or one group, none of it can be left out
    if kept and solved_alone(network, recipe) and folds_of(targets, FOLDS, 0):
        found.append(left_out(cuts, targets, recipe.head_penalty, rows, neighbours))
    if found:
        which = " and ".join(part.which for part in found)
        unknown = unknown_of(np.concatenate([part.distances for part in found]), share, neighbours, which)
        logits, labels = (np.concatenate([getattr(part, name) for part in found]) for name in _SAID)
    else:
        unknown = _unknown_by_what_taught(rows, train, share, neighbours)
        if searched is None or not searched.is_file():
            basis = "No picture was held out from training, so there is nothing to fit it on."
            return Answering(basis=basis, unknown=unknown, costs=costs), kept_features
        with np.load(searched) as table:
            logits, labels = (np.array(table[name]) for name in _SAID)
        which = f"what the trial that chose the recipe said of {len(labels):,} pictures left out of it"
    fitted = round(temperature_of(logits, labels), 6)
    return Answering(fitted, f"Fitted on {which}.", unknown, costs), kept_features


def by_stored_features(network: nn.Module, trainer: Trainer, cache: PrefixCache, at_once: int) -> Ask:
    """Return what asks `network`, whose head was solved on features in `cache`, by these features, without
    computing them again. Other arguments as for `features`."""
    plain, last = copy.deepcopy(network), len(units(network))
    if (apart_from := side_by_side(plain)) is not None:
        apart_from.reset()

    def ask(part: Store) -> tuple[torch.Tensor, torch.Tensor]:
        rows = features(plain, {last}, part, trainer, cache=cache, at_once=at_once)[last]
        if (together := side_by_side(network)) is not None:
            rows = together.standardised(rows)
        with torch.inference_mode():
            crossing = torch.from_numpy(rows)
            return logits_of(Answer(network).suffix(crossing))[0].float(), crossing

    return ask


def unknown_of(distances: np.ndarray, share: float, neighbours: int, which: str) -> Unknown:
    """Return from when on a picture is unknown, by the `distances` (M,) of pictures that `which` names."""
    threshold, promised = threshold_for(distances, share)
    words = f"At most {promised:.1%} of pictures like the training ones are called so, judged by {which}."
    if promised > share:
        words += f" So few cannot promise {share:.1%}."
    return Unknown(neighbours, threshold, round(promised, 6), len(distances), words)


def _unknown_by_what_taught(rows: torch.Tensor, train: Store, share: float, neighbours: int) -> Unknown:
    which = f"{len(train):,} training pictures, each compared with the others"
    distances = from_others(rows, groups_of(train.manifest), neighbours)
    found = unknown_of(distances, share, neighbours, which)
    words = "The network learned from these, so it may be more: this is no promise."
    return replace(found, basis=f"{found.basis} {words}")


def solved_alone(network: nn.Module, recipe: Finetune) -> bool:
    """Tell whether a solved head is all that `recipe` makes of `network`, on pictures as they are, and maybe
    on their mirror images."""
    phases = phases_of(recipe, network)
    return phases[-1].solved and recipe.augmentation in FIXED and bool(linear_head(network))


def left_out(
    cuts: Sequence[np.ndarray],
    targets: Targets,
    penalty: float | None,
    features: torch.Tensor,
    neighbours: int,
) -> HeldOut:
    """Leave every training picture out once, with its group.

    Its logits are those of a head solved on four fifths of the pictures, with the penalty of the head on all
    of them (`penalty`, or the one that out-of-fold predictions choose); its distance is that to all pictures
    but its group.

    Args:
        cuts: features (N, D) as the head is solved on them.
        features: (N, D) of length 1.
    """
    which = f"{len(features):,} training pictures, each left out once"
    logits = _left_out_logits(cuts, targets, penalty)
    return HeldOut(logits, targets.labels, from_others(features, targets.together, neighbours), which)


def from_others(features: torch.Tensor, together: np.ndarray, neighbours: int) -> np.ndarray:
    """Return (N,) how far each of `features` (N, D) is from the others but for its group, of which `together`
    (N,) has the number: the distance of the neighbour of that rank, or of the last where there are fewer; 2,
    the largest there is, where there is none."""
    similar = features @ features.T
    similar[torch.from_numpy(together[:, None] == together)] = -torch.inf
    nearest = similar.topk(neighbours, dim=1).values
    last = torch.isfinite(nearest).sum(1, keepdim=True).clamp(min=1) - 1
    found: np.ndarray = (1 - nearest.gather(1, last)[:, 0].clamp(min=-1)).numpy()
    return found


def _as_solved(network: nn.Module, features: torch.Tensor) -> list[np.ndarray]:
    """Return features (N, ...) at the last cut as the head of `network` was solved on them."""
    flat, together = features.flatten(1).numpy(), side_by_side(network)
    return [flat] if together is None else apart(flat, together.widths)


def _left_out_logits(cuts: Sequence[np.ndarray], targets: Targets, penalty: float | None) -> np.ndarray:
    table, folds = standardised(cuts), folds_of(targets, FOLDS, 0)
    rows = rotated(table.rows)[0]
    tried = penalty_path(len(table.mean)) if penalty is None else np.array([penalty])
    said = path_of(rows, targets, tried, asked_of(rows, targets, folds))[1]
    return in_order(said, folds)


def _parts(store: Store, recipe: Finetune) -> tuple[Store, Store]:
    """Return the pictures that `recipe` trains on, and those it leaves for validation."""
    if recipe.refit:
        store = store.undivided()
    return store.part("train"), store.part("val")


def _at_most(train: Store, most: int) -> tuple[Store, bool]:
    """Return the training pictures, or so many of them drawn at random; and whether they are all."""
    if len(train) <= most:
        return train, True
    rows = np.sort(np.random.default_rng(0).permutation(len(train))[:most])
    return train.divided(rows, np.arange(0)), False
