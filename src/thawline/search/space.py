"""What a trial may vary, per contender."""

from collections.abc import Sequence
from dataclasses import replace

import optuna

from thawline.config.sections import Contender, Finetune, Range, Search, Start

DEPTH, HEAD_LR, BODY_LR = "depth", "head_lr", "body_lr"


def depths(search: Search, contender: Contender, base: Finetune, units: int) -> list[int]:
    """The depths a contender may take: every one from 0 to all `units` unless the search lists some;
    only all for the linear probe and where the body has no rate, only 0 where the body starts random or
    `units` says what learns."""
    source = base.start is Start.source
    if source and (contender is Contender.linear_probe or base.body_lr is None):
        return [units]
    if base.start is Start.random or base.units is not None:
        return [0]
    return search.space.depths or list(range(units + 1))


def suggest(
    trial: optuna.trial.BaseTrial, base: Finetune, search: Search, allowed: Sequence[int], units: int
) -> Finetune:
    """The recipe a trial tries: `base` with depth and learning rates taken from the trial.

    The body has a rate only where some of it is unfrozen and comes from the source model.
    """
    depth = allowed[0] if len(allowed) == 1 else trial.suggest_categorical(DEPTH, list(allowed))
    head_lr = _rate(trial, HEAD_LR, fresh_rates(base, search))
    thawed = base.body_learns(depth == units) and base.body_lr is not None
    body_lr = _rate(trial, BODY_LR, search.space.body_lr) if thawed else None
    return replace(base, depth="all" if depth == units else depth, head_lr=head_lr, body_lr=body_lr)


def fresh_rates(base: Finetune, search: Search) -> Range:
    """The rates searched for what starts random: a head, or a whole network, which wants lower ones."""
    return search.space.scratch_lr if base.start is Start.random else search.space.head_lr


def _rate(trial: optuna.trial.BaseTrial, name: str, interval: Range) -> float:
    return trial.suggest_float(name, interval.low, interval.high, log=True)


def point(
    recipe: Finetune, search: Search, allowed: Sequence[int], depth: int, units: int
) -> dict[str, float]:
    """A recipe as the parameters of a trial, moved into the searched ranges; used to try a known good
    recipe first."""
    found: dict[str, float] = {DEPTH: depth} if len(allowed) > 1 else {}
    assert recipe.head_lr is not None
    found[HEAD_LR] = _within(recipe.head_lr, fresh_rates(recipe, search))
    if recipe.body_learns(depth == units) and recipe.body_lr is not None:
        found[BODY_LR] = _within(recipe.body_lr, search.space.body_lr)
    return found


def _within(rate: float, interval: Range) -> float:
    return min(max(rate, interval.low), interval.high)
