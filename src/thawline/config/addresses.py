"""Addresses given where a path is meant: `Path` would take one of their slashes away."""

import re
from urllib.parse import unquote, urlsplit

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


def is_address(text: str) -> bool:
    """Tell if `text` begins as a URL does."""
    return _ADDRESS.match(text) is not None


def advice(address: str) -> str:
    """Say what to give in place of an address."""
    scheme = address.partition("://")[0]
    if scheme.lower() == "file":
        return f"a path: {unquote(urlsplit(address).path)}"
    way = f", for example by: curl -fLO '{address}'" if scheme.lower() in ("http", "https", "ftp") else ""
    return f"a path here: fetch what lies at this address first{way}"
