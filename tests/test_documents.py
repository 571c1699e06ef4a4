"""What the pages for people name is there: files, headings, settings, presets."""

import dataclasses
import re
from pathlib import Path
from typing import get_type_hints

import pytest

from thawline.config.sections import Config

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    *sorted(f"docs/{p.relative_to(ROOT / 'docs')}" for p in (ROOT / "docs").rglob("*.md")),
]
SECTIONS = "|".join(each.name for each in dataclasses.fields(Config) if dataclasses.is_dataclass(each.type))


def headings(page: Path) -> set[str]:
    """Return the names by which links find the headings of a page, as GitHub makes them."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    titles = [re.sub(r"\[([^]]*)]\([^)]*\)", r"\1", title) for title in re.findall(r"^#+ (.*)", text, re.M)]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_to_a_file_and_a_heading(name: str) -> None:
    page = ROOT / name
    for link in re.findall(r"]\((?!https?:)([^)\s]+)\)", page.read_text(encoding="utf-8")):
        path, _, heading = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not heading or heading in headings(target), link


@pytest.mark.parametrize("name", PAGES)
def test_every_setting_that_is_typed_exists(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    for setting in re.findall(rf"(?<![\w./])((?:{SECTIONS})(?:\.\w+)+)=", text):
        section: type = Config
        for part in setting.split("."):
            if not dataclasses.is_dataclass(section):
                break  # the values of a mapping
            assert part in get_type_hints(section), setting
            section = get_type_hints(section)[part]


@pytest.mark.parametrize("name", PAGES)
def test_every_preset_that_is_typed_exists(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    for group, preset in re.findall(r"\b(finetune|search|source|target)=([\w-]+)", text):
        own = f"# conf/{group}/{preset}.yaml" in text  # a page may show how to write one
        assert own or (ROOT / "conf" / group / f"{preset}.yaml").exists(), f"{group}={preset}"


@pytest.mark.parametrize("group", ["finetune", "search", "source", "target"])
def test_every_preset_is_in_the_table(group: str) -> None:
    rows = re.findall(rf"^\| `{group}=(.*?) \|", (ROOT / "docs/using.md").read_text(encoding="utf-8"), re.M)
    named = {name for row in rows for name in re.findall(r"[\w-]+", row)}
    assert {path.stem for path in (ROOT / "conf" / group).glob("*.yaml")} <= named
