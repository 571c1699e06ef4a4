"""Our Hydra plugin is loaded by every Hydra program of the environment, and touches thawline's alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
import hydra
from omegaconf import OmegaConf

OmegaConf.register_new_resolver("watch", lambda text: text * 2)

@hydra.main(version_base=None, config_path="{folder}", config_name="{name}")
def main(values):
    print(OmegaConf.to_container(values, resolve=True))

main()
"""
"""A program that knows nothing of thawline, with a resolver that has the name of ours."""

COMPOSING = """
from hydra import compose, initialize_config_dir

with initialize_config_dir({folder!r}, version_base=None):
    print(dict(compose("config", overrides={overrides!r})))
"""

QUIET = ("hydra.run.dir=.", "hydra.output_subdir=null", "hydra/job_logging=none", "hydra/hydra_logging=none")


def python(script: str | Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    given = [str(script)] if isinstance(script, Path) else ["-c", script]
    command = [sys.executable, *given, *arguments]
    own = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(command, cwd=cwd, env=own, capture_output=True, text=True, check=False)


def write_program(folder: Path, conf: str, name: str) -> Path:
    (folder / conf).mkdir(parents=True)
    (folder / conf / f"{name}.yaml").write_text("name: x\ntwice: ${watch:ab}\nmodel: {depth: 3}\n")
    program = folder / "app.py"
    program.write_text(PROGRAM.format(folder=conf, name=name))
    return program


@pytest.mark.slow
@pytest.mark.parametrize(("conf", "name"), [("conf", "config"), ("configs", "params")])
def test_another_program_composes_what_it_says(tmp_path: Path, conf: str, name: str) -> None:
    """Though it is called inside a checkout of ours."""
    done = python(write_program(tmp_path, conf, name), "model.depth=4", *QUIET, cwd=ROOT)
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout.strip() == "{'name': 'x', 'twice': 'abab', 'model': {'depth': 4}}"


@pytest.mark.slow
def test_another_program_keeps_hydras_own_errors(tmp_path: Path) -> None:
    done = python(write_program(tmp_path, "conf", "config"), "modell.depth=4", *QUIET, cwd=tmp_path)
    assert "Could not override 'modell.depth'" in done.stderr
    assert "there is no such setting" not in done.stderr


@pytest.mark.slow
def test_another_program_may_sweep_over_what_is_no_value_of_ours(tmp_path: Path) -> None:
    program = write_program(tmp_path, "conf", "config")
    done = python(program, "-m", "model.depth=deep,deeper", "hydra.sweep.dir=sweep", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if "deeper" in line]


def test_ours_is_checked_whoever_composes_it(tmp_path: Path) -> None:
    """As DVC does, which knows nothing of thawline either; here through a link."""
    folder = tmp_path / "conf"
    folder.symlink_to(ROOT / "conf")
    done = python(COMPOSING.format(folder=str(folder), overrides=["finetune.epochs=0"]), cwd=tmp_path)
    assert "finetune.epochs = 0 is not allowed" in done.stderr


def test_what_dvc_could_not_read_is_said_before_it_is_asked_and_to_nobody_else(tmp_path: Path) -> None:
    (tmp_path / "leaves").mkdir()
    (tmp_path / "leaves" / "1.jpg").symlink_to("/nowhere/1.jpg")
    overrides = ["target=image_folder", f"target.root={tmp_path}/leaves"]
    composing = COMPOSING.format(folder=str(ROOT / "conf"), overrides=overrides)
    done = python(f"{composing}\nimport dvc.repo\nprint('within DVC')\n{composing}", cwd=tmp_path)
    assert done.stdout.rstrip().endswith("within DVC")
    assert done.returncode != 0
    assert "links lead nowhere" in done.stderr


def test_loading_the_plugin_imports_nothing_else(tmp_path: Path) -> None:
    code = (
        "import sys, hydra_plugins.thawline_composition\n"
        "print(sorted(name for name in sys.modules if name.startswith('thawline')))"
    )
    done = python(code, cwd=tmp_path)
    assert done.stdout.strip() == "['thawline', 'thawline.config', 'thawline.config.plugin']"
