"""What messages tell people to type: every setting exists, every command is one, whatever is filled in."""

import ast
import re
import shlex
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from thawline.config.composition import compose, to_config
from thawline.config.explain import choices, field_type
from thawline.serving.cli import _parsed

ROOT = Path(__file__).resolve().parents[1]
HOLE = "\x00"
"""Stands for what is filled in."""


def texts(path: Path) -> Iterator[str]:
    """All that is written between quotes in a module, less docstrings."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    inside = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
    docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else HOLE for part in node.values)
        elif isinstance(node, ast.Constant) and id(node) not in inside | docstrings:
            yield str(node.value)


TEXTS = {
    (str(path.relative_to(ROOT / "src")), text)
    for path in (ROOT / "src" / "thawline").rglob("*.py")
    for text in texts(path)
}


def found(pattern: str) -> list[tuple[str, str]]:
    """The modules and what their messages say that is like `pattern`."""
    return sorted({(module, match) for module, text in TEXTS for match in re.findall(pattern, text)})


@cache
def composed() -> DictConfig:
    return compose(ROOT, [])


SETTINGS = found(r"(?:-S |set |lower |raise |only: )([a-z_\x00]+(?:\.[a-z_\x00]+)*=[^\s;,]+)")


def test_messages_name_settings() -> None:
    assert len(SETTINGS) > 10


@pytest.mark.parametrize(("module", "setting"), SETTINGS)
def test_a_setting_that_a_message_names_exists_and_takes_the_value(module: str, setting: str) -> None:
    name, _, value = setting.partition("=")
    sections = ["target", "source"] if module.startswith("thawline/data/") else ["target"]
    for section in sections:
        path = name.replace(HOLE, section, 1) if name.startswith(HOLE + ".") else name
        if HOLE in path or path == "NAME":
            continue
        if (ROOT / "conf" / path).is_dir():
            assert HOLE in value or (ROOT / "conf" / path / f"{value}.yaml").exists()
            continue
        kind = field_type(path)
        assert kind is not None, f"there is no {path}"
        if HOLE not in value and value != "VALUE":
            to_config(OmegaConf.merge(composed(), OmegaConf.from_dotlist([f"{path}={value.rstrip('.')}"])))
        elif choices(kind):
            assert set(value) == {HOLE}, "of choices, the one that is meant is filled in"


@pytest.mark.parametrize(("module", "words"), found(r"(?:lower|raise|set it: -S) ([a-z_]+\.[a-z_.]+)\b"))
def test_a_setting_to_lower_or_raise_exists(module: str, words: str) -> None:  # noqa: ARG001
    assert field_type(words.rstrip(".")) is not None


@pytest.mark.parametrize(("module", "line"), found(r"(thawline (?:fit|predict|study)[^;)\n]*)"))
def test_a_command_of_ours_is_one(module: str, line: str) -> None:  # noqa: ARG001
    words = shlex.split(line.replace(HOLE, "X").replace("FILE|FOLDER", "FILE").split("   ")[0].split(" (")[0])
    if words[1:] and not line.startswith("thawline study`"):
        _parsed(words[1:])


@pytest.mark.parametrize(("module", "extra"), found(r"thawline\[(\w+)\]"))
def test_an_extra_to_install_is_declared(module: str, extra: str) -> None:  # noqa: ARG001
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert extra in declared


@pytest.mark.parametrize(("module", "target"), found(r"\bmake ([a-z]+)\b(?=[,;.`]|$)"))
def test_a_target_of_make_exists(module: str, target: str) -> None:  # noqa: ARG001
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_none_is_not_advised() -> None:
    assert found(r"=None\b") == []
