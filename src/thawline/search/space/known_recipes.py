"""Known good recipes, which a study tries before it searches."""

import math
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

from thawline.config.recipe.fields import AUTO
from thawline.config.search import EACH_DEPTH, MEASURED
from thawline.config.searchable import plain_value
from thawline.config.sections import (
    BatchNorm,
    Finetune,
    Method,
    Mix,
    OptimizerName,
    Phases,
    ScheduleName,
    Search,
    Start,
)
from thawline.search.space.parameters import BODY_LR, CHANGES, DEPTH, HEAD_LR, METHOD, TrialSpace, point
from thawline.search.task import Slot
from thawline.strategy.measured_prior import PRIOR

CONFIGURED = "configured"


def linear_probe(base: Finetune) -> Finetune:
    """Return the recipe that freezes all units and reads the cuts that are chosen for it; a head that is
    trained gets the rate a linear layer on fixed features wants with Adam: 1e-2.

    The baseline every other recipe must beat; Kornblith et al. 2019 use it to compare source models.
    """
    return replace(
        base,
        depth="all",
        head_cuts=AUTO if base.head_cuts is None else base.head_cuts,
        head_lr=1e-2,
        frozen_batch_norm=BatchNorm.frozen,
        phases=Phases.one,
    )


def full(base: Finetune) -> Finetune:
    """Return the recipe in which everything learns, the head ten times as fast as the body, without any other
    restraint.

    The usual recipe since Girshick et al. 2014, as in the transfer-learning examples of PyTorch and fastai.
    """
    return replace(
        base,
        depth=0,
        head_lr=None,
        method=Method.full,
        phases=Phases.one,
        layer_decay=1.0,
        l2_sp=0.0,
        wise_ft=1.0,
    )


def lp_ft(base: Finetune) -> Finetune:
    """Return the recipe that begins with the head alone, then everything at the body's rate (LP-FT, Kumar et
    al. 2022), so that a random head does not distort features that were good."""
    return replace(full(base), phases=Phases.probe_first, phase_share=0.5)


def bit(base: Finetune) -> Finetune:
    """Return the BiT-HyperRule (Kolesnikov et al. 2020): SGD with momentum 0.9, 3e-3 for everything, no
    weight decay, a tenth of the rate after 30, 60 and 90 % of the steps, and no MixUp, which the rule keeps
    for larger sets (20,000 pictures or more)."""
    return replace(
        full(base),
        head_lr=3e-3,
        body_lr=3e-3,
        optimizer=OptimizerName.sgd,
        momentum=0.9,
        weight_decay=0.0,
        schedule=ScheduleName.step,
        mix=Mix.none,
    )


def measured(base: Finetune) -> Finetune:
    """Return the recipe that did best on average in docs/strategy.md: a solved head, then what is not frozen
    fine-tuned from it, with the source's statistics of BatchNorm. It is possible only where the
    measurements say that some recipe is better than the others."""
    assert PRIOR is not None
    recipe = replace(lp_ft(base), batch_norm=BatchNorm.frozen, body_lr=PRIOR.body_lr)
    return replace(recipe, depth=PRIOR.depth or 0)


RECIPES: dict[str, Callable[[Finetune], Finetune]] = {
    "linear_probe": linear_probe,
    MEASURED: measured,
    "full": full,
    "lp_ft": lp_ft,
    "bit": bit,
}


def known(space: TrialSpace) -> list[Slot]:
    """Return the places of a study that try its base and then those of `search.known` that are another
    recipe.

    Each place's `params` are what the space has of the recipe, its attribute `changes` what it has not. A
    recipe is left out where its depth is not among the study's or it needs a method that was not asked for.
    `each_depth` is the base at every depth of the study at which something learns, the cheapest first; with
    it the base does not come before the others: a study that ends early has tried what costs least.

    Studies of a baseline (all frozen, or nothing from the source model) try only their base, whose depth is a
    count, a fraction or `all`: the name of a unit must have been resolved.
    """
    base, depths, units = space.base, space.depths, space.units
    wanted = _count(base.depth, units)
    nearest = min(depths, key=lambda each: abs(each - wanted))
    configured = _slot(CONFIGURED, base, base, point(space, nearest), space.search)
    found = [] if EACH_DEPTH in space.search.known and not space.is_probe else [configured]
    for name in space.search.known:
        if name == EACH_DEPTH:
            learning = [depth for depth in reversed(depths) if depth < units]
            found += [_slot(name, base, base, point(space, depth), space.search) for depth in learning]
        elif _possible(name, space):
            recipe = RECIPES[name](base)
            wanted = _count(recipe.depth, units)
            near = [each for each in depths if each < units] if name == MEASURED else [wanted]
            params = point(replace(space, base=recipe), min(near, key=lambda each: abs(each - wanted)))
            found.append(_slot(name, recipe, base, params, space.search))
    return [slot for index, slot in enumerate(found) if not any(_same(slot, each) for each in found[:index])]


def _count(depth: float | str, units: int) -> int:
    if depth == "all":
        return units
    if isinstance(depth, str):
        raise ValueError(f"depth {depth!r} must be resolved to a count first")
    return depth if isinstance(depth, int) else int(depth * units + 0.5)


def _possible(name: str, space: TrialSpace) -> bool:
    base = space.base
    if base.start is Start.random or base.units is not None or space.is_probe:
        return False
    if name == MEASURED and PRIOR is None:
        return False
    if name == "linear_probe":
        return space.units in space.depths
    asked = space.search.space.choices.get(METHOD, [base.method.name])
    long = base.epochs >= 2 or name not in ("lp_ft", MEASURED)
    # it is moved to the nearest depth at which something learns; the others are what they are at depth 0
    searched = min(space.depths) < space.units if name == MEASURED else 0 in space.depths
    return searched and Method.full.name in asked and long


def _slot(name: str, recipe: Finetune, base: Finetune, params: dict[str, Any], search: Search) -> Slot:
    changes = {}
    for each in fields(Finetune):
        value = plain_value(getattr(recipe, each.name))
        listed = search.space.choices.get(each.name)
        differs = value != plain_value(getattr(base, each.name))
        # a list of one value was meant to fix it, for known recipes too
        outside = differs if listed is None else len(listed) > 1 and value not in listed
        if outside and each.name not in (DEPTH, HEAD_LR, BODY_LR):
            changes[each.name] = value
    return Slot(params, {"known": name, CHANGES: changes} if changes else {"known": name})


def _same(one: Slot, other: Slot) -> bool:
    if one.params.keys() != other.params.keys() or one.attrs.get(CHANGES) != other.attrs.get(CHANGES):
        return False
    return all(_equal(value, other.params[name]) for name, value in one.params.items())


def _equal(one: Any, other: Any) -> bool:
    # 10 x 3e-4 is not quite 3e-3
    return math.isclose(one, other) if isinstance(one, float) else one == other
