"""Values as the text MLflow keeps of them."""

import json
from collections.abc import Mapping
from dataclasses import replace
from enum import Enum
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from thawline.config import composition
from thawline.config.sections import Config

VALUE_LIMIT = 500
"""Characters kept of a parameter, tag or reason; more could not be read in a table anyway."""

PASSWORD = ":***@"
"""What stands in an address for its password."""


def flatten(values: Mapping[str, Any]) -> dict[str, str]:
    """Return nested values as `section.field` → text, written as YAML would write them; at most `VALUE_LIMIT`
    characters each."""
    return {name: shown(value) for name, value in composition.flatten(dict(values)).items()}


def shown(value: Any) -> str:
    """Write `value` as YAML would on one line, shortened visibly beyond `VALUE_LIMIT`."""
    if isinstance(value, Enum):
        return value.name
    if value is None or isinstance(value, bool | list | tuple | dict):
        value = json.dumps(value, default=shown)
    text = str(value)
    return text if len(text) <= VALUE_LIMIT else f"{text[:VALUE_LIMIT]}… ({len(text)} characters)"


def without_password(address: str) -> str:
    """Return the address of a database or a server as anybody may read it."""
    parts = urlsplit(address)
    if parts.password is None:
        return address
    _, _, place = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{parts.username}{PASSWORD}{place}"))


def without_passwords(config: Config) -> Config:
    """Return the configuration, its addresses of databases and servers as anybody may read them."""
    storage = config.search.storage
    return replace(
        config,
        search=replace(config.search, storage=storage and without_password(storage)),
        tracking=replace(config.tracking, uri=without_password(config.tracking.uri)),
    )
