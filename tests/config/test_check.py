"""`python -m thawline.config`: the first stage, and the command that rewrites the lock."""

import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

Command = Callable[..., str | None]
"""Runs the command with these arguments and environment; returns what it ends with, None for success."""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copy(ROOT / "constraints.txt", tmp_path)
    return tmp_path


@pytest.fixture
def run(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """In this process, as a subprocess spends its time on imports."""
    monkeypatch.chdir(checkout)
    for name in [name for name in os.environ if name.startswith("DVC_")]:
        monkeypatch.delenv(name)

    def command(*arguments: str, **environment: str) -> str | None:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["config", *arguments])
            for name, value in environment.items():
                patch.setenv(name, value)
            try:
                runpy.run_module("thawline.config", run_name="__main__")
            except SystemExit as end:
                return str(end.code)
        return None

    return command


def test_a_refusal_is_a_message_and_no_traceback(checkout: Path) -> None:
    (checkout / "params.yaml").unlink()
    done = subprocess.run(
        [sys.executable, "-m", "thawline.config", "--check"],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


def test_the_shipped_lock_passes(checkout: Path, run: Command) -> None:
    assert run("--check") is None
    assert (checkout / "artifacts/params/checked.json").exists()


@pytest.mark.parametrize(("kept", "lacking"), [(0, "seed and 1"), (1 / 3, "")])
@pytest.mark.parametrize("environment", [{}, {"DVC_EXP_NAME": "larger"}])
def test_a_lock_that_was_cut_short_is_refused(
    checkout: Path, run: Command, kept: float, lacking: str, environment: dict[str, str]
) -> None:
    lock = checkout / "params.yaml"
    lines = lock.read_text().splitlines(keepends=True)
    # a section begins in the first column; what is cut within one may be no YAML at all
    starts = [row for row, line in enumerate(lines) if line[0] not in " #\n-"]
    lock.write_text("".join(lines[: starts[int(kept * len(starts))]]))
    said = run("--check", **environment)
    assert said is not None
    assert f"params.yaml is not whole: it lacks {lacking}" in said
    assert said.endswith("write it anew: python -m thawline.config --write")


def test_a_lock_that_differs_from_conf_is_refused_with_the_way_out(checkout: Path, run: Command) -> None:
    lock = checkout / "params.yaml"
    lock.write_text(lock.read_text().replace("epochs: 3\n", "epochs: 4\n"))
    message = run("--check")
    assert message is not None
    assert "pretrain.epochs: params.yaml has 4, conf/ has 3" in message
    assert "python -m thawline.config --write" in message


def in_git(checkout: Path) -> None:
    """Commit all of `checkout`."""
    for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
        identity = ["-c", "user.name=A", "-c", "user.email=a@b"]
        subprocess.run(["git", "-C", str(checkout), *identity, *arguments], check=True)


def test_the_lock_of_an_experiment_may_be_reproduced(
    checkout: Path, run: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    in_git(checkout)
    lock = checkout / "params.yaml"
    lock.write_text(lock.read_text().replace("epochs: 3\n", "epochs: 4\n"))
    assert run("--check") is None
    said = capsys.readouterr().err
    assert "other values than conf/, of an experiment or set by hand: pretrain.epochs" in said
    assert "python -m thawline.config --write" in said


def test_a_lock_that_a_changed_conf_has_left_behind_is_refused(checkout: Path, run: Command) -> None:
    in_git(checkout)
    source = checkout / "conf" / "config.yaml"
    source.write_text(source.read_text().replace("epochs: 3\n", "epochs: 4\n"))
    message = run("--check")
    assert message is not None
    assert "pretrain.epochs: params.yaml has 3, conf/ has 4" in message


def test_in_an_experiment_the_lock_may_differ(checkout: Path, run: Command) -> None:
    lock = checkout / "params.yaml"
    lock.write_text(lock.read_text().replace("epochs: 3\n", "epochs: 4\n"))
    assert run("--check", DVC_EXP_NAME="bold-lynx") is None


def test_write_brings_lock_and_conf_together(checkout: Path, run: Command) -> None:
    """Even where nobody could read the lock. So that of this repository says what its conf/ says."""
    lock = checkout / "params.yaml"
    shipped = lock.read_text()
    lock.write_text("seed: 0\n<<<<<<< HEAD\n")
    assert run("--write") is None
    assert lock.read_text() == shipped


def test_a_folder_that_is_not_there_is_named(run: Command) -> None:
    assert run("--write", "target=image_folder", "target.root=leafs") is None
    message = run("--check", DVC_EXP_NAME="bold-lynx")
    assert message is not None
    assert "target.root = 'leafs'" in message
    assert "does not exist" in message


def test_a_pipeline_without_the_fine_tuned_contender_is_refused_before_anything_is_searched(
    checkout: Path, run: Command
) -> None:
    lock = checkout / "params.yaml"
    lock.write_text(lock.read_text().replace("- finetuned\n", "").replace("- from_scratch\n", ""))
    said = run("--check", DVC_EXP_NAME="tried")
    assert said is not None
    assert "contenders = ['linear_probe']: without finetuned there is nothing to compare" in said
    assert "-S contenders=[finetuned,linear_probe]" in said
    assert "python pipelines/search.py contenders=[linear_probe]" in said


def test_photographs_that_start_from_drawn_letters_are_told_of_a_better_start(
    checkout: Path, run: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--write", "target=image_folder", f"target.root={checkout}") is None
    assert run("--check", DVC_EXP_NAME="leaves") is None
    assert "start from ImageNet weights: -S source=imagenet" in capsys.readouterr().err
    assert run("--write", "target=image_folder", f"target.root={checkout}", "source=imagenet") is None
    assert run("--check", DVC_EXP_NAME="leaves") is None
    assert capsys.readouterr().err == ""
