"""`python -m thawline.config`: the first stage, and the command that rewrites the lock."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copy(ROOT / "constraints.txt", tmp_path)
    return tmp_path


def run(checkout: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DVC_")}
    return subprocess.run(
        [sys.executable, "-m", "thawline.config", *arguments],
        cwd=checkout,
        env={**kept, "PYTHONPATH": str(ROOT / "src"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_shipped_lock_passes(checkout: Path) -> None:
    assert run(checkout, "--check").returncode == 0
    assert (checkout / "artifacts/params/checked.json").exists()


def test_a_lock_that_differs_from_conf_is_refused_with_the_way_out(checkout: Path) -> None:
    lock = checkout / "params.yaml"
    lock.write_text(lock.read_text().replace("epochs: 3\n", "epochs: 4\n"))
    done = run(checkout, "--check")
    assert done.returncode != 0
    assert "pretrain.epochs: params.yaml has 4, conf/ has 3" in done.stderr
    assert "python -m thawline.config --write" in done.stderr
    assert "Traceback" not in done.stderr


def test_in_an_experiment_the_lock_may_differ(checkout: Path) -> None:
    lock = checkout / "params.yaml"
    lock.write_text(lock.read_text().replace("epochs: 3\n", "epochs: 4\n"))
    assert run(checkout, "--check", DVC_EXP_NAME="bold-lynx").returncode == 0


def test_write_brings_lock_and_conf_together(checkout: Path) -> None:
    (checkout / "params.yaml").unlink()
    assert run(checkout, "--write").returncode == 0
    assert run(checkout, "--check").returncode == 0


def test_a_folder_that_is_not_there_is_named(checkout: Path) -> None:
    assert run(checkout, "--write", "target=image_folder", "target.root=leafs").returncode == 0
    done = run(checkout, "--check", DVC_EXP_NAME="bold-lynx")
    assert done.returncode != 0
    assert "target.root = 'leafs'" in done.stderr
    assert "does not exist" in done.stderr
