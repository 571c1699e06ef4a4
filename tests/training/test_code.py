"""The hash of the code: of what decides a training, and of nothing else."""

from pathlib import Path

import grimp
import pytest

import thawline
from thawline.training import code
from thawline.training.code import BY_HAND, FOLDERS, code_version

ROOT = Path(thawline.__file__).parent


def below(folder: str) -> set[str]:
    return {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*.py")}


def hashed(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    seen: set[str] = set()

    def file_hash(path: Path) -> str:
        seen.add(path.relative_to(ROOT).as_posix())
        return ""

    monkeypatch.setattr(code, "file_hash", file_hash)
    code_version()
    return seen


def test_all_modules_that_decide_a_training_count(monkeypatch: pytest.MonkeyPatch) -> None:
    everything = set().union(*(below(folder) for folder in FOLDERS))
    assert set(BY_HAND) < everything
    assert hashed(monkeypatch) == everything - set(BY_HAND)


def test_no_training_uses_what_does_not_count() -> None:
    graph = grimp.build_graph("thawline", exclude_type_checking_imports=True)
    tools = {f"thawline.{path.removesuffix('.py').replace('/', '.')}" for path in BY_HAND}
    users = set().union(*(graph.find_downstream_modules(tool) for tool in tools)) - tools
    assert not {name for name in users if name.split(".")[1] in FOLDERS}
