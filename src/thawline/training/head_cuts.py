"""Which cuts the head of a fine-tuning reads, and what a network makes of pictures there."""

import copy
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from torch import nn

from thawline.artifacts import CARD, MODEL, Artifacts
from thawline.config.errors import UserError, first_line
from thawline.config.recipe.fields import AUTO, Finetune
from thawline.config.recipe.meaning import Situation, matters
from thawline.config.sections import AugmentationName, ClassWeights, Config, Trainer
from thawline.data.store import TEACHING_ONLY, Store, groups_of
from thawline.models.checkpoint import load_model
from thawline.models.cuts import Unit, units
from thawline.models.depth import resolve_cuts, resolve_depth
from thawline.models.head_cuts import read_cuts, side_by_side
from thawline.models.linear_head import linear_head
from thawline.training.batches import batches
from thawline.training.features.cache import FILL_BATCH, PrefixCache, features
from thawline.training.parameter_groups import balanced_weights
from thawline.training.robust import Loss
from thawline.training.solve.choice import CutChoice, choose_cuts, spread_depths
from thawline.training.solve.mirrored import mirror_images_teach
from thawline.training.solve.targets import Targets

log = logging.getLogger(__name__)


def cuts_of(recipe: Finetune, network: nn.Module) -> tuple[int, ...]:
    """Return the depths of the cuts that the head reads where `recipe` fine-tunes `network`, an initial
    target model; none for the last cut alone, which its own head reads.

    Where not all units are frozen, cuts inside the frozen ones are left out: what training starts from is the
    one tensor that the frozen units hand over.

    Raises `UserError` where a cut is none of the network's, and where `head_cuts` is `auto`, which whoever
    has the pictures decides first (`chosen_cuts`).
    """
    found = units(network)
    depth = resolve_depth(recipe.depth, found)
    at = Situation.of(vars(recipe), depth, len(found), linear_head(network) is not None)
    if recipe.head_cuts is None or not matters("head_cuts", vars(recipe), at):
        return ()
    if recipe.head_cuts == AUTO:
        raise UserError(
            "finetune.head_cuts = auto is decided by the search, and here there is none.\n"
            "  set finetune.head_cuts to a list such as [3, 6], or to null"
        )
    wanted = resolve_cuts(recipe.head_cuts, found)
    return wanted if at.all_frozen else resolve_cuts([cut for cut in wanted if cut >= depth], found)


def decided(
    recipe: Finetune, units: Sequence[Unit], linear: bool, choose: Callable[[], CutChoice]
) -> Finetune:
    """Return `recipe` with the cuts of its head as counts: those that `choose` returns where it says `auto`,
    none where its head is not solved."""
    at = Situation.of(vars(recipe), resolve_depth(recipe.depth, units), len(units), linear)
    if recipe.head_cuts is None or not matters("head_cuts", vars(recipe), at):
        return replace(recipe, head_cuts=None)
    cuts = choose().cuts if recipe.head_cuts == AUTO else recipe.head_cuts
    return replace(recipe, head_cuts=list(resolve_cuts(cuts, units)))


def chosen_cuts(
    network: nn.Module,
    recipe: Finetune,
    store: Store,
    trainer: Trainer,
    *,
    seed: int = 0,
    cache: PrefixCache | None = None,
    curve: bool = True,
) -> CutChoice:
    """Choose the cuts that a solved head on `network`, an initial target model, is to read, by out-of-fold
    predictions of the labelled pictures of `store` as they are: see `choose_cuts`. Validation pictures take
    part, for the final head learns from them, too, and of few pictures each one tells something.

    What the chosen ones make of all pictures goes into `cache`: whoever solves that head needs no other pass.
    """
    whole, rows = store, store.labelled
    targets = targets_of(store, len(store.classes), recipe).rows(rows)
    stores = cache is not None and cache.settings.prefix_cache
    if stores and store.origin is not None:
        whole, own = store.origin
        rows = own[rows]
    cuts = pooled_cuts(network, whole, trainer, cache=cache)
    labelled = {depth: cut[rows] for depth, cut in cuts.items()}
    choice = choose_cuts(labelled, targets, seed=seed, curve=curve)
    if cache is not None and stores:
        chosen = resolve_cuts(choice.cuts, units(network))
        reading, last = read_cuts(copy.deepcopy(network), chosen, seed=0), max(cuts)
        values = np.concatenate([cuts[depth] for depth in choice.cuts], axis=1)
        cache.put(reading, last, whole, values)
    return choice


def mirrored_too(
    network: nn.Module,
    store: Store,
    recipe: Finetune,
    trainer: Trainer,
    *,
    seed: int = 0,
    cache: PrefixCache | None = None,
) -> bool:
    """Tell whether a solved head on `network`, an initial target model that reads the cuts it is to read,
    should learn from the mirror images of its pictures as well: see `mirror_images_teach`.

    It takes a pass over the mirror images, whose features go into `cache` for whoever solves that head.
    """
    train, last, plain = store.part("train"), len(units(network)), copy.deepcopy(network)
    together = side_by_side(plain)
    if together is not None:
        together.reset()
    both = batches(train, FILL_BATCH, augmentation=AugmentationName.mirror, mirror=True)
    rows = features(plain, {last}, train, trainer, cache=cache, batches=both)[last]
    pictures, mirrored = np.split(rows.reshape(len(rows), -1), 2)
    widths = (rows.shape[1],) if together is None else together.widths
    targets = targets_of(train, len(store.classes), recipe)
    return mirror_images_teach(apart(pictures, widths), apart(mirrored, widths), targets, seed=seed)


def initial_cuts(config: Config, artifacts: Artifacts, *stores: Store) -> list[dict[int, np.ndarray]]:
    """Return `pooled_cuts` of the initial target model for each of `stores`, which an earlier stage may have
    stored."""
    initial = artifacts.stage("replace_head")
    network, _ = load_model(initial / MODEL, initial / CARD)
    cache = PrefixCache(artifacts.prefix, config.trainer)
    return [pooled_cuts(network, store, config.trainer, cache=cache) for store in stores]


def pooled_cuts(
    network: nn.Module, store: Store, trainer: Trainer, *, cache: PrefixCache | None = None
) -> dict[int, np.ndarray]:
    """Return the mean over positions of what the leading units of `network`, whose head is its own, make of
    each picture of `store`, at up to nine cuts spread over its depth and computed in one pass; at the last
    one alone where a network's heads cannot read several."""
    last = len(units(network))
    several = copy.deepcopy(network)
    try:
        several = read_cuts(several, spread_depths(last), seed=0)
    except UserError as error:
        log.info("heads read the last cut alone: %s", first_line(error))
        several = copy.deepcopy(network)
    rows = features(several, {last}, store, trainer, cache=cache)[last]
    together = side_by_side(several)
    if together is None:
        return {last: rows.reshape(len(rows), -1)}
    return dict(zip(spread_depths(last), apart(rows, together.widths), strict=True))


def apart(rows: np.ndarray, widths: tuple[int, ...]) -> list[np.ndarray]:
    """Return the features of each cut from those of all of them side by side, (N, D)."""
    return np.split(rows, np.cumsum(widths)[:-1], axis=1)


def targets_of(store: Store, classes: int, recipe: Finetune, variants: int = 1) -> Targets:
    """Return what a head is to say of the pictures of `store`, variant after variant."""
    groups = groups_of(store.manifest)
    weighted = recipe.class_weights is ClassWeights.balanced
    pictures = Targets(
        store.labels,
        classes,
        groups=groups if len(np.unique(groups)) < len(store) else None,
        class_weights=balanced_weights(store.supervision, classes).numpy() if weighted else None,
        label_smoothing=recipe.label_smoothing,
        loss=Loss.of(recipe),
        given=store.targets,
        guessed=np.array(store.manifest["split"].isin(TEACHING_ONLY)),
    )
    return pictures.of_variants(variants)
