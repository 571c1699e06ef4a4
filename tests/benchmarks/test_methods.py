"""The comparison of all methods: equal budgets, a table for the page, nothing lost to an interruption."""

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType

import pytest
from omegaconf import OmegaConf
from tests_benchmarks import ROOT, loaded

from thawline.artifacts import Artifacts
from thawline.config.sections import Config, Finetune

SCRIPT = ROOT / "benchmarks" / "methods.py"


@pytest.fixture(scope="module")
def methods() -> ModuleType:
    return loaded("methods")


def test_every_preset_is_compared(methods: ModuleType) -> None:
    assert set(methods.METHODS) == {path.stem for path in (ROOT / "conf" / "finetune").glob("*.yaml")}


def test_every_method_gets_the_same_epochs_and_its_rates_times_the_factor(methods: ModuleType) -> None:
    config = Config(finetune=Finetune(epochs=10, body_lr=1e-3))
    plain, soup = (methods.recipe_of(config, ROOT, name, 3.0) for name in ("full", "soup"))
    assert (plain.epochs, soup.epochs * soup.soup) == (10, 9)
    assert (plain.body_lr, plain.head_lr) == (pytest.approx(3e-3), pytest.approx(3e-2))


@pytest.mark.slow
def test_the_script_fills_its_table_and_trains_nothing_twice(
    toy_artifacts: Artifacts, methods: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = toy_artifacts.root
    (root / "docs").mkdir()
    (root / "docs" / "methods.md").write_text("<!-- toy: begin -->\n<!-- toy: end -->\n")
    shutil.copytree(ROOT / "conf", root / "conf")
    config = Config(finetune=Finetune(epochs=2, batch_size=8))
    OmegaConf.save(OmegaConf.structured(config), root / "params.yaml")
    command = [sys.executable, str(SCRIPT), "toy", "--root", str(root), "--seeds", "2", "--factors", "1", "2"]
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])
    done = subprocess.run(
        [*command, "--methods", "full", "linear_probe", "prompt"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    monkeypatch.setattr(methods, "_trained", lambda *_: pytest.fail("trained again"))
    monkeypatch.setattr(methods, "ProcessPoolExecutor", lambda *_, **__: ThreadPoolExecutor(1))
    again = methods.compare(root, ["full", "linear_probe", "prompt"], [1.0, 2.0], 2)
    rows = json.loads((root / "benchmarks" / "results" / "methods_toy.json").read_text())
    assert [row["method"] for row in rows] == ["full", "linear_probe", "prompt"]
    assert json.loads(json.dumps(again)) == rows
    assert "tokens" in rows[2]["refused"]
    for row in rows[:2]:
        assert 0 <= row["accuracy"]["low"] <= row["accuracy"]["mean"] <= row["accuracy"]["high"] <= 1
        assert row["factor"] in (1, 2)
    assert rows[1]["trainable_parameters"] < rows[0]["trainable_parameters"]
    assert len((root / "docs" / "methods.md").read_text().splitlines()) == 2 + 2 + 3
