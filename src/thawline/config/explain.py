"""Error messages for a wrong configuration: the key, the value, what is allowed, the nearest name."""

import typing
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from thawline.config.errors import alike
from thawline.config.kinds import describe
from thawline.config.overrides import mended, shell_line
from thawline.config.sections import Config


def nearest(name: str, names: list[str]) -> str:
    """Return a line naming the closest of `names`, and one naming all of them."""
    close = alike(name, names)
    return (f"\n  nearest: {close[0]}" if close else "") + f"\n  allowed: {', '.join(sorted(names))}"


def field_type(path: str) -> Any:
    """Return the declared type of the field at a dotted path of `Config`, or of an element of a list, which
    ends in `[0]`; None if there is none."""
    kind: Any = Config
    for part in path.split("."):
        name, _, index = part.partition("[")
        if not is_dataclass(kind):
            return None
        types = {each.name: each.type for each in fields(kind)}
        if name not in types:
            return None
        kind = typing.get_args(types[name])[0] if index else types[name]
    return kind


def choices(kind: Any) -> list[str]:
    """Return the names an enumeration allows, seen through Optional; else nothing."""
    if typing.get_origin(kind) is list:
        return []
    for each in (kind, *typing.get_args(kind)):
        if isinstance(each, type) and issubclass(each, Enum):
            return [member.name for member in each]
    return []


def unknown_key(path: str, value: Any) -> str:
    """Return the message for a name that is no setting: with the nearest setting of the same section."""
    parts = path.split(".")
    known = next(depth for depth in range(len(parts), -1, -1) if _section(parts[:depth]) is not None)
    section = _section(parts[:known])
    names = [".".join([*parts[:known], each.name]) for each in fields(section)]
    return f"{path} = {value!r}: there is no such setting." + nearest(".".join(parts[: known + 1]), names)


def _section(parts: list[str]) -> Any:
    """Return the dataclass at these names, or None."""
    kind = field_type(".".join(parts)) if parts else Config
    return kind if is_dataclass(kind) else None


def field_message(error: OmegaConfBaseException, values: Any) -> str:
    """Return the message for what OmegaConf refused when `values` met the typed sections."""
    path = str(error.full_key or error.key or "")
    value = error.value if error.value is not None else _at(values, path)
    if isinstance(error, ConfigKeyError) or (field_type(path) is None and path):
        return unknown_key(path, value)
    kind = field_type(path)
    names = choices(kind)
    if names and type(None) in typing.get_args(kind):
        names = [*names, "null"]
    allowed = nearest(str(value), names) if names else f"\n  allowed: {describe(kind)}"
    return f"{path} = {value!r} is not allowed.{allowed}"


def _at(values: Any, path: str) -> Any:
    try:
        return OmegaConf.select(OmegaConf.create(values), path)
    except OmegaConfBaseException:
        return None


def composition_message(error: Exception, overrides: list[str]) -> str:
    """Return the message for what Hydra refused to compose, by the override that caused it."""
    from hydra.errors import MissingConfigException, OverrideParseException

    if isinstance(error, OverrideParseException):
        return _unreadable(error.override)
    given = dict(_assignment(each) for each in overrides)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, name = error.missing_cfg_file.partition("/")
        if error.options:
            return f"{group} = {name!r}: there is no such preset." + nearest(name, list(error.options))
    for path, value in given.items():
        if field_type(path) is None and not path.startswith("hydra") and f"'{path}'" in str(error):
            return _new_entry(path, value) or unknown_key(path, value)
    for each in overrides:
        name, value = _assignment(each)
        if f"'{each}'" in str(error) and _is_text(field_type(name)) and "," in value:
            return _unreadable(each)
    return str(error)


def _unreadable(override: str) -> str:
    """Return the message for an override that Hydra's grammar does not take for one value."""
    better = mended(override)
    way = (
        f"give it in quotes: {shell_line([better])}"
        if better
        else "put values with other characters than letters, digits and /-_. in quotes: \"NAME=['VALUE']\""
    )
    return f"{override}: this is not one value, as Hydra reads it.\n  {way}"


def _is_text(kind: Any) -> bool:
    return kind is str or str in typing.get_args(kind)


def _new_entry(path: str, value: str) -> str | None:
    """Return the message for an entry of a mapping (`search.space.choices`): Hydra adds one only with a
    plus."""
    parent = path.rpartition(".")[0]
    if typing.get_origin(field_type(parent)) is not dict:
        return None
    return f"{path} = {value!r}: {parent} has no such entry yet.\n  to add it: +{path}={value}"


def _assignment(override: str) -> tuple[str, str]:
    path, _, value = override.partition("=")
    return path.lstrip("+~").partition("@")[0], value
