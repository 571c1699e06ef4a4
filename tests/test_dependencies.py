"""dvc.yaml names the modules that each stage's script imports."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_every_stage_depends_on_the_modules_it_imports() -> None:
    spec = importlib.util.spec_from_file_location("dependencies", ROOT / "tools" / "dependencies.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    text = (ROOT / "dvc.yaml").read_text()
    assert tool.with_dependencies(text) == text, "run: python tools/dependencies.py"
    assert "src/thawline/models/preprocessing.py" in text.partition("  prepare_target:")[0]
