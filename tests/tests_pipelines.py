"""What the scripts of pipelines/ say of themselves."""

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def reads_of(script: str) -> tuple[str, ...]:
    """What a script says that it reads."""
    found: list[tuple[str, ...]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("thawline.stage.run", lambda *_, reads=(): found.append(reads))
        runpy.run_path(str(ROOT / "pipelines" / f"{script}.py"), run_name="__main__")
    (reads,) = found
    return reads
