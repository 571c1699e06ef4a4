"""Declared types in words, for messages."""

import typing
from dataclasses import fields, is_dataclass
from enum import Enum
from types import UnionType
from typing import Any, Union

KINDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false", type(None): "null"}


def describe(kind: Any) -> str:
    """Return a type in words: `Optional[int]` is 'a whole number or null'."""
    if typing.get_origin(kind) in (Union, UnionType):
        return " or ".join(dict.fromkeys(describe(each) for each in typing.get_args(kind)))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return ", ".join(each.name for each in kind)
    if typing.get_origin(kind) is list:
        return f"a list, each {describe(typing.get_args(kind)[0])}"
    if is_dataclass(kind):
        return "a section with " + ", ".join(each.name for each in fields(kind))
    return KINDS.get(kind, "a value")
