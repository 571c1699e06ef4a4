"""One content, two templates: README.md for GitHub, and a page that is one file and shows pictures."""

import base64
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from thawline.report.figures.style import THEMES
from thawline.wording import duration, percent

_SPECIAL = re.compile(r"[\\`*\[\]<>|$~]|(?<![a-zA-Z0-9])_|_(?![a-zA-Z0-9])")
"""What GitHub's Markdown would take for markup; an underscore within a word is none."""


def readme(content: Mapping[str, Any]) -> str:
    """Write the report in GitHub's Markdown; the figures are expected in the folder `figures` beside it."""
    return _template("page.md.jinja", autoescape=False).render(content)


def web_page(content: Mapping[str, Any], figures: Path) -> str:
    """Write the report as HTML that needs no other file and asks nobody for anything.

    It says nothing of the moment at which it was made, so that equal content gives equal bytes.

    figures: the folder of the figures' files, which the page takes in.
    """
    page = _template("page.html.jinja", autoescape=True).render(content, themes=THEMES, folder=figures)
    # a number and its sign stay in one line
    return re.sub(r"(?<=\d) %", "\N{NO-BREAK SPACE}%", page)


@cache
def _template(name: str, autoescape: bool) -> Template:
    """Return a template of the package. Without `autoescape`, its filters escape what a label may contain."""
    environment = Environment(
        loader=PackageLoader("thawline.report"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=autoescape,
    )
    written = {"duration": duration, "percent": percent}
    environment.filters |= written | {"cell": cell, "prose": prose, "address": address}
    return environment.get_template(name)


def cell(text: object) -> str:
    """Escape text so that it stays in its cell of a Markdown table and means nothing else there."""
    return _SPECIAL.sub(r"\\\g<0>", " ".join(str(text).split()))


def prose(text: object) -> Markup:
    """Write a text of ours as HTML: `**` marks what is strong, a backtick code, nothing else is markup."""
    found = str(escape(text))
    found = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", found)
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", found))


def address(path: Path) -> str:
    """Return a figure as an address that needs no file."""
    content = base64.b64encode(path.read_bytes()).decode("ascii")
    return f"data:image/svg+xml;base64,{content}"
