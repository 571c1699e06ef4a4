"""What the pages for people name is there: files, headings, settings, presets."""

import dataclasses
import os
import re
import shlex
from functools import cache
from pathlib import Path
from typing import get_type_hints

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from thawline.config.candidates import spell_out
from thawline.config.composition import compose, located, to_config
from thawline.config.sections import Config
from thawline.fit import command
from thawline.serving.cli import main

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    *sorted(f"docs/{p.relative_to(ROOT / 'docs')}" for p in (ROOT / "docs").rglob("*.md")),
]
SECTIONS = "|".join(each.name for each in dataclasses.fields(Config) if dataclasses.is_dataclass(each.type))
FITS = sorted(
    {
        line.partition("  #")[0].strip()
        for name in PAGES
        for line in re.findall(
            r"thawline fit (?:~/|FOLDER)[^`|\n]*", (ROOT / name).read_text(encoding="utf-8")
        )
    }
)
"""Commands that fit a model to somebody's pictures, with their settings."""


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


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the pages speak of."""
    root = tmp_path_factory.mktemp("home")
    for folder in ("leaves", "scans", "FOLDER", "many-pictures", "more_leaves"):
        (root / folder).mkdir()
    for file in ("weights.pth", "body.safetensors", "costs.csv", "votes.csv", "rules.py"):
        (root / file).touch()
    return root


@cache
def composed(*presets: str) -> DictConfig:
    return compose(ROOT, list(presets))


def config_of(settings: list[str]) -> Config:
    """What conf/ comes to with these. Hydra composes presets and sources, and reads all other values."""
    presets = [each for each in settings if re.match(r"\w+=|source\.(?!candidates)", each)]
    values = composed("target.root=pictures", *presets).copy()
    parser = OverridesParser.create()
    for each in parser.parse_overrides([each for each in settings if each not in presets]):
        OmegaConf.update(values, each.key_or_group, each.value())
    spell_out(values, ROOT, located)
    return to_config(values)


@pytest.mark.parametrize("typed", FITS)
def test_every_fit_that_is_shown_is_accepted(typed: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home)
    runs: list[list[str]] = []
    monkeypatch.setattr("thawline.fit.fit", lambda *given: runs.append(command(*given)))
    monkeypatch.setattr("thawline.artifacts.pipeline_root", lambda: ROOT)
    with pytest.raises(SystemExit) as ended:
        main(shlex.split(os.path.expandvars(typed.replace("=FILE", "=weights.pth")))[1:])
    assert ended.value.code == 0
    assert config_of(runs[0][4::2]).target.root in map(str, home.iterdir())
