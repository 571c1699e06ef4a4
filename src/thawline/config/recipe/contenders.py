"""The contenders, and their recipes: the configured one as each of them would use it."""

from collections.abc import Collection
from dataclasses import replace

from thawline.config.choices import Contender, Start
from thawline.config.errors import ConfigError
from thawline.config.recipe.fields import AUTO, HEAD_TO_BODY, Finetune
from thawline.config.recipe.meaning import NEUTRAL, Situation, reconciled
from thawline.config.recipe.methods import Method
from thawline.config.recipe.rewards import Reward
from thawline.config.sections import Config


def of_each(config: Config) -> list[Config]:
    """Return the configuration once for each of its contenders, with that one alone."""
    return [replace(config, contenders=[each]) for each in config.contenders]


def contender_of(config: Config) -> Contender:
    """Return the contender of a configuration that has one alone (`of_each`)."""
    (alone,) = config.contenders
    return alone


def recipe_of(contender: Contender, configured: Finetune, linear_head: bool = True) -> Finetune:
    """Return the configured recipe as a contender would use it: equal budget, other start or depth, and none
    of what only means something for a body that is fine-tuned.

    From scratch everything starts random and a head's tenfold rate would be too fast for a whole network, so
    it gets the body's rate where one is configured for a whole body, else a tenth of the head's. A linear
    probe's head is solved where it is linear, on the cuts that are chosen for it: nothing is averaged, mixed
    or rewarded, and pictures are augmented only where `views` says how many variants are stored.
    """
    if contender is Contender.finetuned:
        return configured
    if contender is Contender.linear_probe:
        cuts = AUTO if configured.head_cuts is None else configured.head_cuts
        values = vars(configured) | NEUTRAL | {"start": Start.source, "depth": "all", "head_cuts": cuts}
        values["reward"] = Reward.none
        at = Situation.of(values, depth=1, units=None, linear_head=linear_head)  # all, however many there are
        return Finetune(**reconciled(values, at))
    return replace(configured, **NEUTRAL, start=Start.random, body_lr=None, head_lr=_from_scratch(configured))


def require_finetuned(contenders: Collection[Contender]) -> None:
    """Refuse contenders that leave out the one which everything after the trainings is about."""
    if Contender.finetuned in contenders:
        return
    names = [each.name for each in contenders]
    together = ",".join([Contender.finetuned.name, *names])
    raise ConfigError(
        f"contenders = {names}: without {Contender.finetuned.name} there is nothing to compare these with, "
        "to report on or to export.\n"
        f"  the whole pipeline: -S contenders=[{together}]; their searches alone, by hand: "
        f"python pipelines/search.py contenders=[{','.join(names)}]"
    )


def _from_scratch(configured: Finetune) -> float:
    assert configured.head_lr is not None  # Finetune resolves it
    if configured.method is Method.full and configured.body_lr:
        return configured.body_lr
    return configured.head_lr / (HEAD_TO_BODY if configured.body_lr else 1)
