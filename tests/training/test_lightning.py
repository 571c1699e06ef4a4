"""What a process loads before it can train."""

import subprocess
import sys

import pytest

from thawline.training.lightning import UNUSED


@pytest.mark.parametrize("module", ["thawline.training.finetune", "thawline.training.pretrain"])
def test_a_training_loads_nothing_for_metrics_it_does_not_compute(module: str) -> None:
    script = f"import {module}, sys; print(*(name for name in sys.argv[1:] if name in sys.modules))"
    # of scipy, modules of our own use a part
    unused = ["scipy.signal" if name == "scipy" else name for name in UNUSED]
    done = subprocess.run([sys.executable, "-c", script, *unused], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_what_lightning_did_not_look_for_is_there_for_others() -> None:
    from lightning_utilities.core.imports import RequirementCache

    assert RequirementCache("matplotlib")
