"""Values as the text MLflow keeps of them."""

import json
from collections.abc import Mapping
from enum import Enum
from typing import Any

VALUE_LIMIT = 500
"""Characters kept of a parameter, tag or reason; more could not be read in a table anyway."""


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested values as `section.field` → text, written as YAML would write them; at most
    `VALUE_LIMIT` characters each."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = shown(value)
    return flat


def shown(value: Any) -> str:
    """`value` as YAML would write it on one line, shortened visibly beyond `VALUE_LIMIT`."""
    if isinstance(value, Enum):
        return value.name
    if value is None or isinstance(value, bool | list | tuple | dict):
        value = json.dumps(value, default=shown)
    text = str(value)
    return text if len(text) <= VALUE_LIMIT else f"{text[:VALUE_LIMIT]}… ({len(text)} characters)"
