"""A phase in which nothing but a linear head learns: it is solved on the features of the pictures."""

from dataclasses import replace
from functools import partial

import numpy as np
import torch
from scipy.special import log_softmax
from torch import nn

from thawline.config.errors import UserError
from thawline.config.recipe.rewards import Reward
from thawline.config.sections import Finetune, Mix, Trainer
from thawline.data.augment import FIXED
from thawline.models.freezing import PartlyFrozen
from thawline.models.head_cuts import SideBySide, side_by_side
from thawline.models.linear_head import linear_head
from thawline.training.batches import Pictures
from thawline.training.features.cache import FILL_BATCH, FeatureBatches, PrefixCache, features
from thawline.training.head_cuts import apart, targets_of
from thawline.training.solve.features import standardised
from thawline.training.solve.head import LinearHead
from thawline.training.solve.logistic import logistic_head
from thawline.training.solve.targets import Targets


def require_stored_pictures(recipe: Finetune) -> None:
    """Raise `UserError` where the pictures of a recipe are new ones in every epoch: a solved head has no
    epochs."""
    if recipe.mix is not Mix.none:
        raise UserError(
            f"finetune.mix = {recipe.mix.name} makes new pictures in every epoch, but a linear head on "
            "frozen features is solved, on stored ones.\n  set finetune.mix=none"
        )
    if recipe.soup > 1 or recipe.ema > 0:
        name, neutral = ("soup", "1") if recipe.soup > 1 else ("ema", "0")
        raise UserError(
            f"finetune.{name} = {getattr(recipe, name)} averages weights of a training, but a linear head "
            f"on frozen features is solved, without one.\n  set finetune.{name}={neutral}"
        )
    if recipe.reward is not Reward.none:
        raise UserError(
            f"finetune.reward = {recipe.reward.name} is trained for step by step, but a linear head on "
            "frozen features is solved, without a step.\n  set finetune.reward=none (evaluate.costs decides "
            "for the least expected cost without training), or a lower finetune.depth, for units to learn"
        )
    if recipe.augmentation not in FIXED and recipe.views == 0:
        raise UserError(
            f"finetune.augmentation = {recipe.augmentation.name} makes new pictures in every epoch, but a "
            "linear head on frozen features is solved, on stored ones.\n"
            "  set finetune.views=8, eight stored variants of each picture, or finetune.augmentation=mirror"
        )


def solve_head(
    network: nn.Module,
    held: PartlyFrozen,
    pictures: Pictures,
    trainer: Trainer,
    *,
    scale: float = 1.0,
    cache: PrefixCache | None = None,
) -> tuple[float, FeatureBatches]:
    """Write the weights that solve the linear head of `network`, times `scale`, into it.

    Where it reads several cuts, what standardises them is measured first. Weights are found on all variants
    of the training pictures that the recipe of `pictures` stores, with its class weights, label smoothing and
    `head_penalty`, which out-of-fold predictions choose where it is null.
    `held` is the network with all of its units frozen.

    Returns:
        The mean loss of the training pictures as they taught, without the penalty and before scaling; and the
        features, in batches of both parts.
    """
    recipe, layer, together = pictures.recipe, linear_head(network), side_by_side(network)
    assert layer is not None, "the network has no linear head"
    if together is not None:
        together.reset()
    at_once = min(FILL_BATCH, pictures.validation_batch)
    stored = partial(features, held, {held.depth}, settings=trainer, cache=cache, at_once=at_once)
    train, val = pictures.training(), pictures.validation()
    taught = stored(store=pictures.train, batches=train)[held.depth]
    asked = stored(store=pictures.val)[held.depth] if len(pictures.val) else taught[:0]
    if not (np.isfinite(taught).all() and np.isfinite(asked).all()):
        raise UserError(
            "the frozen units make infinite or missing numbers of some pictures: no head can be solved.\n"
            "  The source model's weights are damaged, or its pretraining diverged: take others, or pretrain "
            "with a lower pretrain.learning_rate."
        )
    variants = len(taught) // len(pictures.train)
    targets = targets_of(pictures.train, len(pictures.store.classes), recipe, variants)
    head = _head_on(taught.reshape(len(taught), -1), targets, recipe, together)
    with torch.no_grad():
        for parameter, values in ((layer.weight, head.weight), (layer.bias, head.bias)):
            parameter.copy_(torch.from_numpy(scale * values))
    if together is not None:
        taught, asked = (together.standardised(rows) for rows in (taught, asked))
    rows = taught.reshape(len(taught), -1)
    said = log_softmax(rows @ head.weight.T + head.bias, axis=1)
    losses = (targets.shares * targets.loss.costs(said, np.exp)).sum()
    of_variants = [partial(_at, each) for each in np.split(taught, variants)]
    return float(losses / targets.weights.sum()), (train.given(of_variants), val.given([partial(_at, asked)]))


def _head_on(
    taught: np.ndarray, targets: Targets, recipe: Finetune, together: SideBySide | None
) -> LinearHead:
    """Return the head for rows (N, D) as the last cut hands them over.

    With several cuts side by side, these rows change with it: they are standardised from now on, which
    `together` is told, and so is what comes back.
    """
    if together is None:
        return logistic_head([taught], targets, penalty=recipe.head_penalty)
    cuts = apart(taught, together.widths)
    table = standardised(cuts)
    together.standardise(table.mean, table.scale)
    head = logistic_head(cuts, targets, penalty=recipe.head_penalty)
    weight, bias = table.on_rows(head.weight, head.bias)
    return replace(head, weight=weight, bias=bias)


def _at(values: np.ndarray, indices: np.ndarray, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(values[indices]).to(device)
