"""Scripts of benchmarks/, which are no package, as modules."""

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]


def loaded(name: str) -> ModuleType:
    """Return a script, beside which those that it imports are found."""
    if str(ROOT / "benchmarks") not in sys.path:
        sys.path.insert(0, str(ROOT / "benchmarks"))
    return import_module(name)
