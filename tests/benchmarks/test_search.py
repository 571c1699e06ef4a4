"""The comparison of searches: the same space and trainings for all, fresh seeds alone meet the test split."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from omegaconf import OmegaConf
from tests_benchmarks import ROOT, loaded

from thawline.artifacts import Artifacts
from thawline.config.sections import Config, Finetune


@pytest.fixture(scope="module")
def search() -> ModuleType:
    return loaded("search")


def found(val: float, test: list[float], *curve: tuple[float, float]) -> dict[str, object]:
    return {"val_accuracy": val, "test_accuracy": test, "trials": len(curve), "curve": list(curve)}


def test_regret_and_the_time_to_come_close_are_measured_against_the_grid(search: ModuleType) -> None:
    rows = search.rows(
        {
            "grid": found(0.9, [0.8, 0.82], (600.0, 0.9)),
            "quick 0": found(0.91, [0.79, 0.81], (5.0, 0.7), (20.0, 0.895), (30.0, 0.91)),
            "TPE 0": found(0.85, [0.7, 0.7], (5.0, 0.7), (40.0, 0.85)),
        }
    )
    assert [row["regret"] for row in rows] == pytest.approx([0.0, 0.01, 0.11])
    assert [row["seconds_to_close"] for row in rows] == [600.0, 20.0, None]
    lines = search.page(rows).splitlines()
    assert len(lines) == 2 + 3
    assert lines[3].endswith("| +0.010 | 20 |")
    assert lines[4].endswith("| +0.110 | never |")


def test_the_grid_covers_depths_rates_and_linear_probes(search: ModuleType, project: Path) -> None:
    recipes = search.grid_recipes(project, 4)
    assert len(recipes) == 60
    assert sum(recipe.depth == "all" for recipe in recipes) == 12
    assert len({(recipe.depth, recipe.head_lr, recipe.body_lr) for recipe in recipes}) == 60


@pytest.mark.slow
def test_the_script_measures_all_searches(project: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "search.py"), "toy", "--root", str(project)]
    done = subprocess.run(
        [*command, "--trials", "2", "--repeats", "1", "--seeds", "1", "--rates", "1"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads((project / "benchmarks" / "results" / "search_toy.json").read_text())
    assert [row["search"] for row in rows] == ["quick 0", "TPE 0", "grid"]
    assert all(0 <= row["test_accuracy"] <= 1 and row["trials"] > 0 for row in rows)


@pytest.fixture
def project(toy_artifacts: Artifacts) -> Path:
    root = toy_artifacts.root
    shutil.copytree(ROOT / "conf", root / "conf")
    config = Config(finetune=Finetune(epochs=2, batch_size=8))
    OmegaConf.save(OmegaConf.structured(config), root / "params.yaml")
    return root
