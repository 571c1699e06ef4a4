"""Values as they are typed: in Hydra's grammar, and on the command line of a shell."""

import re
import shlex

_PLAIN = re.compile(r"/[A-Za-z0-9_/.-]*|(?!(?:null|true|false|nan|inf)$)[A-Za-z][A-Za-z_]*", re.IGNORECASE)
"""Paths and words that Hydra reads as they are. It has no unquoted letters but those of ASCII."""

_LIVE_IN_DOUBLE_QUOTES = frozenset('"$`\\!')


def override(name: str, value: object) -> str:
    """Return the override that gives the setting `name` this value, whatever characters are in a text."""
    if isinstance(value, str):
        typed = value if _PLAIN.fullmatch(value) else quoted(value)
    elif isinstance(value, bool):
        typed = str(value).lower()
    else:
        typed = "null" if value is None else str(value)
    return f"{name}={typed}"


def quoted(value: str) -> str:
    """Return `value` in the quotes of Hydra's grammar."""
    from hydra.core.override_parser.types import Quote, QuotedString

    return QuotedString(value, Quote.single).with_quotes()


def readable(given: str) -> str:
    """Return an override as Hydra reads it: as it was given, or with its value in quotes where Hydra cannot
    read it otherwise."""
    return given if _can_be_read(given) else mended(given) or given


def mended(given: str) -> str | None:
    """Return the override with its value in quotes; None where that does not help either, or would make a
    text of a list."""
    name, equals, value = given.partition("=")
    if not equals or value.startswith(("[", "{")):
        return None
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        value = value[1:-1]
    found = f"{name}={quoted(value)}"
    return found if _can_be_read(found) else None


def _can_be_read(given: str) -> bool:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        OverridesParser.create().parse_override(given)
    except HydraException:
        return False
    return True


def shell_line(words: list[str]) -> str:
    """Return the line that a shell splits into `words`."""
    return " ".join(map(_shell_word, words))


def _shell_word(word: str) -> str:
    """Return the word as `shlex.quote` does, but in double quotes where Hydra's are inside."""
    if "'" in word and not _LIVE_IN_DOUBLE_QUOTES & set(word):
        return f'"{word}"'
    return shlex.quote(word)
