"""Recipes of the contenders: the configured one as each of them would use it."""

from dataclasses import replace

from thawline.config.choices import Contender, Start
from thawline.config.recipe.fields import AUTO, HEAD_TO_BODY, Finetune
from thawline.config.recipe.meaning import NEUTRAL, Situation, reconciled
from thawline.config.recipe.methods import Method


def recipe_of(contender: Contender, configured: Finetune, linear_head: bool = True) -> Finetune:
    """Return the configured recipe as a contender would use it: equal budget, other start or depth, and none
    of what only means something for a body that is fine-tuned.

    From scratch everything starts random and a head's tenfold rate would be too fast for a whole
    network, so it gets the body's rate where one is configured for a whole body, else a tenth of the head's.
    A linear probe's head is solved where it is linear, on the cuts that are chosen for it: nothing is
    averaged or mixed, and pictures are augmented only where `views` says how many variants are stored.
    """
    if contender is Contender.finetuned:
        return configured
    if contender is Contender.linear_probe:
        cuts = AUTO if configured.head_cuts is None else configured.head_cuts
        values = vars(configured) | NEUTRAL | {"start": Start.source, "depth": "all", "head_cuts": cuts}
        at = Situation.of(values, depth=1, units=None, linear_head=linear_head)  # all, however many there are
        return Finetune(**reconciled(values, at))
    return replace(configured, **NEUTRAL, start=Start.random, body_lr=None, head_lr=_from_scratch(configured))


def _from_scratch(configured: Finetune) -> float:
    assert configured.head_lr is not None  # Finetune resolves it
    if configured.method is Method.full and configured.body_lr:
        return configured.body_lr
    return configured.head_lr / (HEAD_TO_BODY if configured.body_lr else 1)
