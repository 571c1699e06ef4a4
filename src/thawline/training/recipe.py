"""Recipes of the contenders, and the recipe file that search writes and finetune obeys."""

from dataclasses import asdict, dataclass, is_dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from thawline.artifacts import read_json, write_json
from thawline.config.recipe.fields import FROM_SOURCE
from thawline.config.sections import Config, Contender, Finetune, Method, Start, Trainer
from thawline.tracking.text import without_passwords

HEAD_TO_BODY = 10.0
"""Default ratio of the head's learning rate to the body's."""


@dataclass(frozen=True)
class Chosen:
    """What `search` decided for one contender.

    `depth` is the resolved count of frozen units, `unit` the name of the last of them (None at depth
    0). `selected` describes the trial the recipe comes from; None when the search was off.
    """

    contender: Contender
    recipe: Finetune
    depth: int
    unit: str | None
    selected: dict[str, Any] | None


def head_rate(recipe: Finetune) -> float:
    """The learning rate of what starts random."""
    if recipe.head_lr is not None:
        return recipe.head_lr
    assert recipe.body_lr is not None  # checked by Finetune
    return HEAD_TO_BODY * recipe.body_lr


def recipe_of(contender: Contender, configured: Finetune) -> Finetune:
    """The configured recipe as each contender would use it: equal budget, other start or depth, and none
    of what only means something for a body that is fine-tuned.

    From scratch everything starts random and a head's tenfold rate would be too fast for a whole
    network, so it gets the body's rate where one is configured for a whole body, else a tenth of the head's.
    """
    if contender is Contender.finetuned:
        return replace(configured, head_lr=head_rate(configured))
    plain_body = {name: getattr(Finetune(), name) for name in FROM_SOURCE}
    if contender is Contender.linear_probe:
        changes = {**plain_body, "start": Start.source, "depth": "all", "head_lr": head_rate(configured)}
    else:
        whole = configured.method is Method.full and configured.body_lr
        rate = whole or head_rate(configured) / (HEAD_TO_BODY if configured.body_lr else 1)
        changes = {**plain_body, "start": Start.random, "body_lr": None, "head_lr": rate}
    return replace(configured, **changes)


def tracked(recipe: Finetune, depth: int | None = None, unit: str | None = None) -> dict[str, Any]:
    """A recipe as recorded with every run: the same names for a trial and for a fine-tuning."""
    values = plain(recipe)
    return values if depth is None else {**values, "depth": depth, "unit": unit}


def computing(trainer: Trainer) -> dict[str, Any]:
    """What of `trainer` decides the bits of a training: not what is stored meanwhile."""
    values: dict[str, Any] = plain(trainer)
    return {name: value for name, value in values.items() if not name.startswith("prefix_cache")}


def lock_of(config: Config) -> str:
    """The whole configuration as YAML, without its passwords: kept with every run that stands on its own."""
    return OmegaConf.to_yaml(OmegaConf.structured(without_passwords(config)))


def write_chosen(path: Path, chosen: Chosen) -> None:
    write_json(path, plain(chosen))


def read_chosen(path: Path) -> Chosen:
    """The recipe file at `path`, its values checked as the configuration's are."""
    content = read_json(path)
    recipe = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Finetune), content["recipe"]))
    assert isinstance(recipe, Finetune)
    return Chosen(
        Contender[content["contender"]], recipe, content["depth"], content["unit"], content["selected"]
    )


def plain(value: Any) -> Any:
    """Dataclasses and enumerations as JSON-like values."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    return value
