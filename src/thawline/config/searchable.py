"""Fields of a recipe that a search may vary, and the check of the values that are listed for them."""

from collections.abc import Mapping
from dataclasses import fields
from enum import Enum
from functools import cache
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from thawline.config.checks import require
from thawline.config.errors import FieldError, closest
from thawline.config.kinds import describe
from thawline.config.recipe.fields import Finetune
from thawline.config.recipe.rewards import RewardFields

ELSEWHERE = {
    "depth": "search.space.depths, which lists the depths to try",
    "head_lr": "search.space.head_lr (scratch_lr for a network from scratch), an interval from low to high",
    "body_lr": "search.space.body_lr, an interval from low to high",
    "start": "finetune.start; the contender from_scratch starts random and has a search of its own",
    "units": "finetune.units; what learns is searched as search.space.depths",
    "head_cuts": "finetune.head_cuts: auto chooses them by out-of-fold predictions, without a trial",
    **dict.fromkeys(
        (each.name for each in fields(RewardFields)),
        "finetune.reward and its kin: trials are compared by accuracy, which no reward is for",
    ),
    "seeds": "finetune.seeds: fine-tunings of the chosen recipe, which a trial has none of",
    "soup": "finetune.soup: trainings of a final fine-tuning that are averaged; a trial is one training",
    "keep": "finetune.keep: best chooses the epoch by the pictures that score the trial, to win by luck",
}
"""Fields that are no choice of a trial, with the setting to use instead."""

TYPES: dict[str, Any] = {each.name: each.type for each in fields(Finetune)}
SEARCHABLE = tuple(name for name in TYPES if name not in ELSEWHERE)


def checked_choices(choices: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return `choices` with every value as the parameter of a trial holds it: a number, true or false, or the
    name of an enumeration's member.

    Raises `FieldError` for a field that does not exist or has a place of its own, for an empty list, and for
    a value that `Finetune` refuses.
    """
    return {name: _checked(name, values) for name, values in choices.items()}


def _checked(name: str, values: Any) -> list[Any]:
    path = f"choices.{name}"
    require(name not in ELSEWHERE, path, values, f"not here; use {ELSEWHERE.get(name)}")
    require(
        name in SEARCHABLE,
        path,
        values,
        f"fields of finetune; nearest: {closest(name, SEARCHABLE)}\n  all of them: {', '.join(SEARCHABLE)}",
    )
    require(
        isinstance(values, list) and len(values) > 0, path, values, f"a list of values of finetune.{name}"
    )
    found = [plain_value(_accepted(name, value)) for value in values]
    require(len(set(found)) == len(found), path, values, "a list in which no value occurs twice")
    return found


def _accepted(name: str, value: Any) -> Any:
    try:
        return getattr(OmegaConf.to_object(OmegaConf.merge(recipe_schema(), {name: value})), name)
    except FieldError as error:
        raise FieldError(f"choices.{name}", value, error.allowed) from None
    except OmegaConfBaseException:
        raise FieldError(f"choices.{name}", value, describe(TYPES[name])) from None


@cache
def recipe_schema() -> Any:
    """Return the default recipe with its types, as OmegaConf merges others into it: making it takes as long
    as a merge."""
    return OmegaConf.structured(Finetune)


def plain_value(value: Any) -> Any:
    """Return an enumeration's member as its name, anything else as it is."""
    return value.name if isinstance(value, Enum) else value


def typed_value(name: str, value: Any) -> Any:
    """Return the value of the recipe's field `name` from what `plain_value` made of it."""
    kind = TYPES[name]
    if isinstance(value, str) and isinstance(kind, type) and issubclass(kind, Enum):
        return kind[value]
    return value
