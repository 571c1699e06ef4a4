"""The recipe file that search writes and finetune obeys, and recipes as they are recorded."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from thawline.artifacts import read_json, write_json
from thawline.config.recipe.meaning import Situation, matters
from thawline.config.searchable import recipe_schema
from thawline.config.sections import Config, Contender, Finetune, Trainer
from thawline.tracking.text import without_passwords


@dataclass(frozen=True)
class Chosen:
    """The decision of `search` for one contender.

    `depth` is the resolved count of frozen units, `unit` the name of the last of them (None at depth
    0). `selected` describes the trial the recipe comes from; None when the search was off. `linear_head` says
    whether the network's head is linear, so that it is solved where it learns alone.
    """

    contender: Contender
    recipe: Finetune
    depth: int
    unit: str | None
    selected: dict[str, Any] | None
    linear_head: bool = True


def tracked(
    recipe: Finetune,
    depth: int | None = None,
    unit: str | None = None,
    *,
    units: int | None = None,
    linear_head: bool = False,
) -> dict[str, Any]:
    """Return a recipe as recorded with every run: the same names for a trial and for a fine-tuning.

    Once its `depth` is known, only fields that mean something there, and `unit`, the name of the last frozen
    one. Give `units`, how many the network has, and whether its head is linear where that is known: else a
    field is rather kept.
    """
    values = plain(recipe)
    if depth is None:
        return values
    at = Situation.of(vars(recipe), depth, units, linear_head)
    found = {name: value for name, value in values.items() if matters(name, vars(recipe), at)}
    return {**found, "depth": depth, "unit": unit}


def computing(trainer: Trainer) -> dict[str, Any]:
    """Return what of `trainer` decides the bits of a training: not what is stored meanwhile."""
    values: dict[str, Any] = plain(trainer)
    return {name: value for name, value in values.items() if not name.startswith("prefix_cache")}


def lock_of(config: Config) -> str:
    """Return the whole configuration as YAML, without its passwords: kept with every run that stands on its
    own."""
    # as plain values: with their types, making it takes twice as long
    return OmegaConf.to_yaml(OmegaConf.create(plain(without_passwords(config))))


def write_chosen(path: Path, chosen: Chosen) -> None:
    """Write the recipe file."""
    write_json(path, plain(chosen))


def read_chosen(path: Path) -> Chosen:
    """Read the recipe file at `path`; its values are checked as the configuration's are."""
    content = read_json(path)
    recipe = recipe_of_plain(content["recipe"])
    return Chosen(**{**content, "contender": Contender[content["contender"]], "recipe": recipe})


def recipe_of_plain(values: Mapping[str, Any]) -> Finetune:
    """Return the recipe whose fields were written as JSON-like `values`, which are checked."""
    recipe = OmegaConf.to_object(OmegaConf.merge(recipe_schema(), values))
    assert isinstance(recipe, Finetune)
    return recipe


def plain(value: Any) -> Any:
    """Return dataclasses and enumerations as JSON-like values."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    return value
