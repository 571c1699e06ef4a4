"""Scripts of pipelines/: called by hand they compose conf/, write below scratch/, and explain mistakes."""

import os
import runpy
import shutil
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from thawline.artifacts import Artifacts
from thawline.config.composition import compose
from thawline.config.sections import Contender, Search
from thawline.stage import QUIET, quiet, scratch_name

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = sorted(path.stem for path in (ROOT / "pipelines").glob("*.py"))
TOOLS = {"range_test"}
"""Scripts that are called by hand only."""
STAGES = sorted({*SCRIPTS} - TOOLS)
HEAVY = ("torch", "pytorch_lightning", "mlflow", "optuna", "pandas", "sklearn", "matplotlib")


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DVC_")}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**kept, "PYTHONPATH": "src", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_script_but_the_tools_is_a_stage_of_the_dag_and_the_other_way_round() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    commands = "\n".join(str(stage.get("cmd") or stage["do"]["cmd"]) for stage in stages.values())
    assert {name for name in STAGES if f"pipelines/{name}.py" in commands} == set(STAGES)
    assert {name.partition("_s")[0].partition("_t")[0] for name in stages} - {"params"} == set(STAGES)


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_is_short(script: str) -> None:
    assert len((ROOT / "pipelines" / f"{script}.py").read_text().splitlines()) <= 30


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("override", ["finetune.hed_lr=1e-3", "finetune.epochs=many"])
def test_a_wrong_value_fails_at_once_and_readably(script: str, override: str) -> None:
    started = time.monotonic()
    done = run(f"pipelines/{script}.py", override)
    assert done.returncode != 0
    assert override.partition("=")[0] in done.stderr
    assert "allowed: " in done.stderr
    assert "Traceback" not in done.stderr
    assert time.monotonic() - started < 30  # hangs, not speed: the machine may be busy


def test_scripts_import_nothing_heavy_before_they_know_what_to_do() -> None:
    code = f"import sys, thawline.stage; print([name for name in {HEAVY!r} if name in sys.modules])"
    assert run("-c", code).stdout.strip() == "[]"


def test_reading_the_artifacts_of_another_task_is_refused() -> None:
    done = run("pipelines/search.py", "target.train_per_class=7")
    assert done.returncode != 0
    assert "target.train_per_class = 7" in done.stderr
    assert "dvc exp run -S target.train_per_class=7" in done.stderr


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Scripts and configuration, and nothing that any stage made."""
    for name in ("conf", "pipelines"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    return tmp_path


def leave_by_hand(root: Path, override: str, *artifacts: str) -> None:
    """Make folders as stages called by hand with `override` would."""
    for name in artifacts:
        (root / "scratch" / scratch_name(compose(ROOT, [override])) / name).mkdir(parents=True)


def test_what_one_stage_left_by_hand_does_not_vouch_for_another(project: Path) -> None:
    leave_by_hand(project, "finetune.epochs=5", "finetune/finetuned")
    done = run(str(project / "pipelines/evaluate.py"), "finetune.epochs=5")
    assert "finetune.epochs = 5, but what stage evaluate would read" in done.stderr


@pytest.mark.parametrize("script", ["export", "evaluate"])
def test_weights_are_not_completed_by_those_of_another_task(script: str, project: Path) -> None:
    trained = [f"{stage}/{contender.name}" for stage in ("search", "finetune") for contender in Contender]
    leave_by_hand(project, "pretrain.epochs=5", "prepare/target", "prepare/test", *trained)
    done = run(str(project / f"pipelines/{script}.py"), "pretrain.epochs=5")
    assert f"pretrain.epochs = 5, but what stage {script} would read" in done.stderr


def test_only_what_is_read_from_the_pipeline_has_to_agree_with_it(project: Path) -> None:
    script = project / "pipelines/export.py"
    script.write_text(
        script.read_text().replace("    from thawline.serving.export import export\n", "    return")
    )
    leave_by_hand(project, "finetune.epochs=5", "search/finetuned", "finetune/finetuned")
    done = run(str(script), "finetune.epochs=5")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("script", STAGES)
def test_a_script_says_that_it_reads_what_its_stage_depends_on(
    script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    deps = next(each.get("do", each)["deps"] for name, each in entries.items() if name.startswith(script))
    needed = {path.removeprefix("artifacts/") for path in deps if path.startswith("artifacts/")}
    found: list[str] = []
    monkeypatch.setattr("thawline.stage.run", lambda *_, reads=(): found.extend(reads))
    runpy.run_path(str(ROOT / "pipelines" / f"{script}.py"), run_name="__main__")
    reads = [each.replace("{contender}", "${item}") for each in found]
    left = {path for path in needed if not any(f"{path}/".startswith(f"{each}/") for each in reads)}
    # whole stages, whose parts are named one by one
    left -= {path for path in left if any(each.startswith(f"{path}/") for each in reads)}
    assert left <= {"params/checked.json"}


def test_a_missing_artifact_names_the_stage_to_run(tmp_path: Path) -> None:
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    (tmp_path / "params.yaml").symlink_to(ROOT / "params.yaml")
    script = tmp_path / "pipelines" / "report.py"
    script.write_text((ROOT / "pipelines/report.py").read_text())
    done = run(str(script))
    assert done.returncode != 0
    assert "does not exist" in done.stderr
    assert "dvc repro" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["x.py"], ["x.py", *QUIET]),
        (["x.py", "-cd", ".", "-cn", "params", "a=1"], ["x.py", "-cd", ".", "-cn", "params", "a=1", *QUIET]),
        (["x.py", "a=1,2", "-m"], ["x.py", "a=1,2", *QUIET, "-m"]),
    ],
)
def test_overrides_stay_together_on_the_command_line(given: list[str], expected: list[str]) -> None:
    assert quiet(given) == expected


def test_stages_called_by_hand_with_equal_values_share_a_folder() -> None:
    first = {"seed": 1, "role": "source", "contender": "finetuned"}
    assert scratch_name(first) == scratch_name({**first, "role": "target"})
    assert scratch_name(first) != scratch_name({**first, "seed": 2})


def test_by_hand_own_results_are_found_before_those_of_dvc(tmp_path: Path) -> None:
    artifacts = Artifacts.under(tmp_path, "1234abcd")
    assert artifacts.stage("search", "finetuned") == tmp_path / "artifacts/search/finetuned"
    artifacts.stage_output("search", "finetuned").mkdir(parents=True)
    assert artifacts.stage("search", "finetuned") == tmp_path / "scratch/1234abcd/search/finetuned"


def imported_by(module: str) -> set[str]:
    """Files of the layers that compute, which `module` imports directly or not, as paths below src."""
    import grimp

    graph = grimp.build_graph("thawline", exclude_type_checking_imports=True)
    found = {module, *graph.find_upstream_modules(module)}
    layers = tuple(
        f"thawline.{name}." for name in ("data", "models", "training", "search", "evaluation", "serving")
    )
    return {f"src/{name.replace('.', '/')}.py" for name in found if name.startswith(layers)}


NOT_DECIDING = {"workers", "engine", "address", "storage", "heartbeat", "grace", "attempts"}
"""Fields of `search` that say who runs the trials and how a study survives, not what it finds."""


def test_a_search_depends_on_every_setting_that_decides_what_it_finds() -> None:
    entry = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["search"]["do"]
    listed = {name.removeprefix("search.") for name in entry["params"][0]["params.yaml"]}
    everything = {field.name for field in fields(Search)}
    assert everything >= NOT_DECIDING
    assert everything & listed == everything - NOT_DECIDING


@pytest.mark.parametrize(
    ("stage", "module"),
    [
        ("pretrain", "training.pretrain"),
        ("replace_head", "models.replace_head"),
        ("search", "search.search"),
        ("finetune", "training.finetune"),
        ("evaluate", "evaluation.evaluate"),
    ],
)
def test_a_stage_depends_on_the_code_it_runs(stage: str, module: str) -> None:
    entry = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"][stage]
    listed = entry.get("do", entry)["deps"]
    missing = {path for path in imported_by(f"thawline.{module}") if not path.startswith(tuple(listed))}
    # preparing has stages of its own, whose outputs are the dependency
    assert {path for path in missing if not path.startswith("src/thawline/data/")} == set()
