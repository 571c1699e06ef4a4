"""What a process loads before it can train."""

import os
import subprocess
import sys

import pytest
import torch

from thawline.training.lightning import NVML_CHECK, UNUSED, _nvml_check_restored


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


@pytest.mark.parametrize(
    ("before", "gpu", "after"), [(None, False, None), (None, True, "1"), ("1", False, "1"), ("0", False, "0")]
)
def test_how_pytorch_asks_for_a_gpu_stays_as_it_was_where_there_is_none(
    before: str | None, gpu: bool, after: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setenv(NVML_CHECK, before or "")
    if before is None:
        monkeypatch.delenv(NVML_CHECK)
    with _nvml_check_restored():
        os.environ[NVML_CHECK] = "1"
    assert os.environ.get(NVML_CHECK) == after


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_without_a_gpu_importing_lightning_does_not_change_how_pytorch_asks() -> None:
    script = "import os, thawline.training.lightning; print([name for name in os.environ if 'NVML' in name])"
    environment = {name: value for name, value in os.environ.items() if name != NVML_CHECK}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == "[]"
