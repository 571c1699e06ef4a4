"""What DVC runs again after a change of code."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from thawline.artifacts import Artifacts, read_json
from thawline.code import write_identities

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], set[str]]:
    """Tell which scripts have other code after `text` was added to a file."""
    root = tmp_path_factory.mktemp("code")
    for name in ("pipelines", "src/thawline"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))

    def identities() -> dict[str, str]:
        write_identities(root)
        files = sorted(Artifacts.under(root).code("x").parent.glob("*.json"))
        return {path.stem: read_json(path)["code"] for path in files}

    before = identities()

    def found(name: str, text: str) -> set[str]:
        path = root / name
        kept = path.read_text()
        path.write_text(kept + text)
        after = identities()
        path.write_text(kept)
        return {script for script in before if before[script] != after[script]}

    return found


CODE = "\n\nADDED = 1\n"


def test_every_script_has_code(changed) -> None:
    assert len(changed("src/thawline/__init__.py", CODE)) == len([*(ROOT / "pipelines").glob("*.py")])


def test_a_comment_reruns_nothing(changed) -> None:
    assert changed("src/thawline/models/freezing.py", "\n# a comment\n") == set()


@pytest.mark.parametrize(
    ("name", "scripts"),
    [
        ("pipelines/report.py", {"report"}),
        ("src/thawline/serving/export.py", {"export"}),
        ("src/thawline/search/results/winner.py", {"search"}),
        ("src/thawline/tracking/runs.py", set()),
    ],
)
def test_a_change_reruns_what_runs_it(changed, name: str, scripts: set[str]) -> None:
    assert changed(name, CODE) == scripts


def test_a_change_of_a_method_leaves_the_source_model_alone(changed) -> None:
    found = changed("src/thawline/models/adapters/lora.py", CODE)
    assert {"finetune", "search", "evaluate"} <= found
    assert not found & {"prepare", "pretrain", "replace_head", "supervise"}
    assert "prepare" in changed("src/thawline/models/preprocessing.py", CODE)
