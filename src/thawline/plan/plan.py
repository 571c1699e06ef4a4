"""The stage: a first usable model, and what is done in the minutes that are left."""

import logging
import math
import time
from dataclasses import asdict
from typing import Any

import numpy as np
from torch import nn

from thawline.artifacts import (
    CARD,
    FORECAST,
    MODEL,
    PLAN,
    Artifacts,
    file_hash,
    fingerprint,
    read_json,
    write_json,
)
from thawline.clock import Clock
from thawline.config.choices import ValidationName
from thawline.config.recipe.contenders import recipe_of
from thawline.config.recipe.rewards import Reward
from thawline.config.search import EACH_DEPTH, LINEAR_PROBE, MEASURED
from thawline.config.sections import (
    AugmentationName,
    Config,
    Contender,
    Finetune,
    Goal,
    Keep,
    Method,
    Mix,
    Phases,
    Precision,
    Start,
)
from thawline.data.augment import variants
from thawline.data.costs import configured_costs
from thawline.data.store import Store, groups_of
from thawline.data.supervision import open_training
from thawline.models.answer import save_answering
from thawline.models.checkpoint import load_model, save_model
from thawline.models.cuts import units as found_units
from thawline.models.depth import frozen_units, require_depths
from thawline.models.device import prepare_machine
from thawline.models.linear_head import linear_head
from thawline.plan.budget import Programme, Work, forecast, richest
from thawline.plan.costs import Costs, timed
from thawline.plan.decisions import Decisions, applied, count_time, read_decisions, write_decisions
from thawline.plan.depths import spread
from thawline.plan.words import left_out, table
from thawline.training.answering import answering_of, by_stored_features
from thawline.training.batches import batches
from thawline.training.features.cache import FILL_BATCH, PrefixCache
from thawline.training.features.compute import sizes
from thawline.training.finetune import initial_network
from thawline.training.folds import most_folds
from thawline.training.head_cuts import chosen_cuts, decided, mirrored_too
from thawline.training.recipe import plain
from thawline.training.run import Training
from thawline.training.solve.choice import CutChoice

log = logging.getLogger(__name__)

BATCH = 8
"""Pictures in the steps that are timed: what one costs in a step hardly depends on it, and in a pass a
processor computes few at once."""

SHARE_TO_LOOK = 0.4
"""Of the minutes: later than that nobody looks whether mirror images help."""

DEPTHS, CURVE_DEPTHS = 4, 8
"""Thawed depths that a plan compares at most: for a recipe, and for a curve."""


def plan(config: Config, artifacts: Artifacts) -> None:
    """Write plan.json, model/ and forecast.json, for `plan.minutes`, which are given.

    Decisions are kept for as long as what they were made from stays the same: a reproduction repeats them.
    """
    minutes = config.plan.minutes
    assert minutes is not None
    folder = artifacts.stage_output("plan")
    clock, began = Clock(artifacts.clock), time.monotonic()
    prepare_machine(config.trainer)
    store = open_training(artifacts)
    basis = _basis(config, artifacts, store)
    known = _known(folder / PLAN, basis)
    count_time(artifacts, basis, repeated=known is not None)
    cuts, network = first_model(config, artifacts, store)
    log.info("a first model is ready: thawline predict FILE|FOLDER (%.0f s)", clock.used() or 0)
    if known is not None:
        log.info("plan: as decided before (%s)", PLAN)
        return
    copied = config.finetune.start is Start.source
    found: dict[str, Any] = {"finetune.head_cuts": cuts} if copied else {}
    looking = (clock.used() or time.monotonic() - began) < SHARE_TO_LOOK * 60 * minutes
    if looking and _mirrors(config, artifacts, store, network):
        found["finetune.augmentation"] = AugmentationName.mirror.name
    config = applied(config, Decisions(settings=found))
    work, costs, units = _asked(config, artifacts, store)
    left = 60 * minutes - (clock.used() or time.monotonic() - began)
    programme = richest(work, costs, left)
    found |= settings(config.finetune, work, costs, units, programme)
    write_decisions(folder / PLAN, Decisions(basis, found))
    expected, used = forecast(work, costs, programme), clock.used() or 0.0
    missing = list(left_out(work, costs, programme, expected))
    # for the answer at the end: whole minutes in which it fits, were steps timed a tenth slower
    told = [[words, math.ceil(1.1 * (used + expected.total + more) / 60)] for words, more in missing]
    write_json(folder / FORECAST, {**asdict(expected), "left_out": told})
    for line in table(minutes, used, work, programme, expected):
        log.info("%s", line)
    for words, _ in missing:
        log.info("  left out: %s", words)


def _mirrors(config: Config, artifacts: Artifacts, store: Store, network: nn.Module) -> bool:
    """Tell whether mirror images are to teach, too: where they keep their labels, nothing else changes the
    pictures, and heads that saw them are better on pictures left out. `network` is the first model."""
    recipe = config.finetune
    as_they_are = recipe.augmentation is AugmentationName.none and recipe.mix is Mix.none
    if not config.target.mirror or not as_they_are:
        return False
    cache = PrefixCache(artifacts.prefix, config.trainer)
    helps = mirrored_too(network, store, recipe, config.trainer, seed=config.seed, cache=cache)
    log.info(
        "heads that saw mirror images, too, are %s on pictures left out", "better" if helps else "no better"
    )
    return helps


def first_model(config: Config, artifacts: Artifacts, store: Store) -> tuple[list[int] | None, nn.Module]:
    """Write the linear probe as a bundle: solved, so it takes little more than one pass over the pictures. It
    has a temperature, and knows from when on a picture is unknown, by the features of that pass. It decides
    by the costs in `evaluate.costs`, as the final model does. Raises `UserError` where these are no table of
    the costs of these classes.

    Returns:
        The cuts that its head reads, chosen out of fold where they are not configured; and the network.
    """
    initial, folder = artifacts.stage("replace_head"), artifacts.stage_output("plan", "model")
    network, card = load_model(initial / MODEL, initial / CARD)
    # before anything that takes long
    mistakes = configured_costs(config.evaluate.costs, card.classes)
    cache = PrefixCache(artifacts.prefix, config.trainer)
    linear = linear_head(network) is not None
    recipe = recipe_of(Contender.linear_probe, config.finetune, linear)

    def choose() -> CutChoice:
        return chosen_cuts(network, recipe, store, config.trainer, seed=config.seed, cache=cache, curve=False)

    recipe = decided(recipe, found_units(network), linear, choose)
    seed = config.seed * 1000
    network, card = initial_network(recipe, initial, seed)
    training = Training(
        network, recipe, store, config.trainer, seed=seed, mirror=config.target.mirror, cache=cache
    )
    training.run()
    (folder / "absent.json").unlink(missing_ok=True)
    at_once = min(FILL_BATCH, training.pictures.validation_batch)
    answering, features = answering_of(
        network,
        recipe,
        store,
        config.export.unknown_share,
        training.device,
        mistakes,
        batch_size=at_once,
        ask=by_stored_features(network, config.trainer, cache, at_once),
    )
    save_answering(folder, save_model(folder / MODEL, folder / CARD, network, card), answering, features)
    return recipe.head_cuts if isinstance(recipe.head_cuts, list) else None, network


def _basis(config: Config, artifacts: Artifacts, store: Store) -> str:
    """Return the fingerprint of all that decisions depend on but for the clock and the machine."""
    initial = file_hash(artifacts.stage("replace_head") / MODEL)
    sections = [plain(each) for each in (config.plan, config.finetune, config.search, config.trainer)]
    contenders = [plain(each) for each in config.contenders]
    others = [config.seed, config.target.mirror]
    return fingerprint([initial, store.fingerprint, *sections, contenders, *others])


def _known(path: Any, basis: str) -> Decisions | None:
    if not path.exists():
        return None
    found = read_decisions(path)
    return found if found.basis == basis else None


def _asked(config: Config, artifacts: Artifacts, store: Store) -> tuple[Work, Costs, int]:
    """Time steps at some depths, and say what there is to do."""
    initial = artifacts.stage("replace_head")
    network, card = load_model(initial / MODEL, initial / CARD)
    recipe, train = config.finetune, store.teaching()
    device = prepare_machine(config.trainer)
    pictures, labels, _ = next(iter(batches(train, BATCH).on(device)))
    curve = config.search.goal is Goal.depth_curve
    of_cuts = sizes(network, pictures[:1])
    units = found_units(network)
    every = spread(of_cuts, CURVE_DEPTHS if curve else DEPTHS)
    depths, listed = every, config.search.space.depths
    if not config.search.enabled:
        frozen = frozen_units(recipe.depth, recipe.units, units)
        depths = [min(set(range(len(units))) - frozen)] if len(frozen) < len(units) else []
    elif listed is not None:
        require_depths(listed, len(units), card.architecture)
        depths = [each for each in listed if each < len(units)]
    # everything frozen: no step to time, but what a pass takes is known from other depths
    solved, depths = not depths, depths or every
    sampled = sorted({min(depths), max(depths), sorted(depths)[len(depths) // 2]})
    costs = timed(network, recipe, pictures, labels, sampled, _precisions(config))
    made = variants(recipe.augmentation, recipe.views, config.target.mirror)
    # how many there are is no secret; the pictures themselves are in another store
    counts = read_json(artifacts.data("target") / "card.json").get("counts", {})
    work = Work(
        goal=config.search.goal,
        train=len(train),
        val=len(store) - len(train),
        test=sum(counts.get("test", {}).values()),
        depths=tuple(depths),
        epochs=recipe.epochs,
        seeds=recipe.seeds,
        trials_per_depth=config.search.trials_per_depth,
        seeds_per_depth=config.search.seeds_per_depth,
        contenders=tuple(config.contenders),
        # what frozen units make of a picture is computed once, unless each epoch makes new ones
        stored=config.trainer.prefix_cache and made is not None and recipe.mix is Mix.none,
        variants=made or 1,
        refit=_refits(recipe),
        validation=config.search.validation.name,
        folds=_folds(config, store),
        searched=config.search.enabled,
        solved=solved,
        linear=linear_head(network) is not None,
    )
    return work, costs, len(units)


def _folds(config: Config, store: Store) -> int:
    """Return the folds of the richest validation: as many as are configured where these are demanded, else as
    many of them as the pictures allow."""
    if config.search.validation is ValidationName.kfold:
        return config.search.folds
    labelled = store.labelled
    groups = groups_of(store.manifest.iloc[labelled])
    together = groups if len(np.unique(groups)) < len(labelled) else None
    return most_folds(store.labels[labelled], together, config.search.folds, config.seed)


def _precisions(config: Config) -> tuple[bool, ...]:
    """Return the precisions to compare (False: float32): only the one that is asked for, where one is."""
    asked = config.trainer.precision
    return (False, True) if asked is Precision.auto else (asked is Precision.bfloat16,)


def _refits(recipe: Finetune) -> bool:
    """Tell whether the final trainings learn from the validation pictures, too: where these choose nothing
    any more. A reward's best decision is found on pictures that were held out."""
    kept = recipe.keep is Keep.last and recipe.early_stopping == 0 and recipe.soup == 1
    return kept and recipe.reward is Reward.none


def settings(recipe: Finetune, work: Work, costs: Costs, units: int, programme: Programme) -> dict[str, Any]:
    """Return what `programme` means, as values of the configuration."""
    found: dict[str, Any] = {"trainer.precision": "bfloat16" if costs.half else "float32"}
    if _refits(recipe):
        found["finetune.refit"] = True
    if not programme.depths:
        # what a head that is solved has no use for would be refused
        given, solved = plain(recipe), plain(recipe_of(Contender.linear_probe, recipe, work.linear))
        changed = {f"finetune.{name}": value for name, value in solved.items() if value != given[name]}
        return found | {"search.enabled": False, **changed, "finetune.depth": "all", "finetune.seeds": 1}
    folded = programme.folds > 1
    copied = recipe.start is Start.source and recipe.method is Method.full
    if copied and recipe.phases is Phases.one and programme.epochs >= 2:
        # a head that is solved costs nothing, and everything else then starts from one that is right
        found["finetune.phases"] = Phases.probe_first.name
    if recipe.reward is not Reward.none and programme.epochs < 3:
        found["finetune.reward"] = Reward.none.name
    found |= {
        "finetune.epochs": programme.epochs,
        "finetune.seeds": programme.seeds,
        "search.validation": "kfold" if folded else "holdout",
        "search.space.depths": sorted([*programme.depths, units]),
    }
    if folded:
        found["search.folds"] = programme.folds
    if work.goal is Goal.depth_curve:
        counts = {"trials_per_depth": programme.trials, "seeds_per_depth": programme.again}
        return found | {f"search.{name}": value for name, value in counts.items()}
    first = len(programme.depths) + 1
    # of the free trials, one is where measurements of other pictures say that it is likely to be best
    named = [LINEAR_PROBE, EACH_DEPTH, *([MEASURED] if programme.free else [])]
    known = {"known": named, "startup_trials": first, "trials": first + programme.free}
    return found | {f"search.{name}": value for name, value in known.items()}
