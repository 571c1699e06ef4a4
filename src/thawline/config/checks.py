"""Checks of single fields, for `__post_init__`."""

from thawline.config.errors import FieldError


def require(ok: bool, name: str, value: object, allowed: str) -> None:
    if not ok:
        raise FieldError(name, value, allowed)


def positive(section: object, *names: str) -> None:
    for name in names:
        value = getattr(section, name)
        require(value is None or value > 0, name, value, "greater than 0")


def in_unit_interval(section: object, *names: str) -> None:
    for name in names:
        value = getattr(section, name)
        require(value is None or 0 <= value < 1, name, value, "at least 0 and below 1")


def not_negative(section: object, *names: str) -> None:
    for name in names:
        value = getattr(section, name)
        require(value is None or value >= 0, name, value, "0 or more")
