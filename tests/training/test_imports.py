"""Lightning, which takes seconds to load, is loaded by what trains by gradient descent only."""

import ast
from pathlib import Path

import thawline

LOADING = {"thawline.training.classifier", "thawline.training.fit"}
"""Modules that import Lightning."""


def imported(path: Path) -> set[str]:
    """What a module imports when it is imported itself, not what its functions do."""
    statements = ast.parse(path.read_text(encoding="utf-8")).body
    statements += [each for block in statements if isinstance(block, ast.With) for each in block.body]
    plain = {alias.name for each in statements if isinstance(each, ast.Import) for alias in each.names}
    return plain | {str(each.module) for each in statements if isinstance(each, ast.ImportFrom)}


def test_no_module_loads_lightning_before_a_training_begins() -> None:
    root = Path(thawline.__file__).parent
    modules = {
        ".".join(["thawline", *path.relative_to(root).with_suffix("").parts]): imported(path)
        for path in root.rglob("*.py")
    }
    assert {name for name, found in modules.items() if "pytorch_lightning" in found} == LOADING
    # both belong together: one of them is imported where a training begins
    assert {name for name, found in modules.items() if found & LOADING} == {"thawline.training.fit"}
