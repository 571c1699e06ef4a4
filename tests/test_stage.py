"""Scripts of pipelines/: called by hand they compose conf/, write below scratch/, and explain mistakes."""

import ast
import errno
import os
import re
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from tests_pipelines import ROOT, reads_of

from thawline.by_hand import NOT_DECIDING
from thawline.config.sections import Config, Search
from thawline.stage import QUIET, _exit, quiet
from thawline.stage import STAGES as IN_ORDER

ENTRIES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
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
    commands = "\n".join(stage["cmd"] for stage in ENTRIES.values())
    assert {name for name in STAGES if f"pipelines/{name}.py" in commands} == set(STAGES)
    assert {CODE.get(name, name) for name in ENTRIES} - {"params", "code"} == set(STAGES)


def test_every_script_depends_on_its_own_code() -> None:
    for stage in ENTRIES.values():
        names = re.findall(r"pipelines/(\w+)\.py", stage["cmd"])
        assert [f"artifacts/code/{name}.json" in stage["deps"] for name in names] == [True] * len(names)
        # files of this repository make the lock long, which DVC reads and writes again after every stage
        code = {each for each in stage["deps"] if each.endswith(".py")}
        assert code <= {"src/thawline/serving/formats/predict_onnx.py"}  # copied, not run


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_is_short(script: str) -> None:
    assert len((ROOT / "pipelines" / f"{script}.py").read_text().splitlines()) <= 30


def test_a_wrong_value_fails_at_once_and_readably() -> None:
    started = time.monotonic()
    done = run("pipelines/range_test.py", "finetune.epochs=many")
    assert done.returncode != 0
    assert "finetune.epochs" in done.stderr
    assert "allowed: " in done.stderr
    assert "Traceback" not in done.stderr
    assert time.monotonic() - started < 30  # hangs, not speed: the machine may be busy


def test_scripts_import_nothing_heavy_before_they_know_what_to_do() -> None:
    code = f"import sys, thawline.stage; print([name for name in {HEAVY!r} if name in sys.modules])"
    assert run("-c", code).stdout.strip() == "[]"


@pytest.mark.parametrize("script", STAGES)
def test_a_script_says_that_it_reads_what_its_stage_depends_on(script: str) -> None:
    entries = ENTRIES
    deps = next(each["deps"] for name, each in entries.items() if name.startswith(script))
    needed = {path.removeprefix("artifacts/") for path in deps if path.startswith("artifacts/")}
    reads = [each.removesuffix("/{contender}") for each in reads_of(script)]
    left = {path for path in needed if not any(f"{path}/".startswith(f"{each}/") for each in reads)}
    # of every stage after the choice it is said once: thawline.stage.run
    assert left <= {"params/checked.json", f"code/{script}.json", "choose_source/source.json"}


READING = """
from thawline.artifacts import read_json
from thawline.stage import run

if __name__ == "__main__":
    run(__file__, lambda _, given: read_json(given.stage("pretrain") / "costs.json"), reads=("pretrain",))
"""
"""What the scripts of stages do, but for what takes seconds to import."""


def test_where_no_source_is_chosen_among_typed_candidates_the_command_that_chooses_is_named(
    tmp_path: Path,
) -> None:
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "artifacts" / "pretrain").mkdir(parents=True)
    for name in ("conf", "dvc.yaml", "params.yaml"):
        (tmp_path / name).symlink_to(ROOT / name)
    script = tmp_path / "pipelines" / "replace_head.py"
    script.write_text(READING.replace('("pretrain",)', "()"))
    done = run(str(script), "source=weights", "source.candidates=[resnet18,resnet50]")
    assert "artifacts/choose_source, which stage replace_head reads, is not there" in done.stderr
    assert "make it: python pipelines/choose_source.py source=weights" in done.stderr
    assert "source.candidates=[resnet18,resnet50]" in done.stderr


def test_a_missing_artifact_names_the_stage_to_run(tmp_path: Path) -> None:
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    (tmp_path / "params.yaml").symlink_to(ROOT / "params.yaml")
    script = tmp_path / "pipelines" / "report.py"
    script.write_text(READING)
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


def entry_of(stage: str) -> dict:
    return ENTRIES[stage]


CODE = {
    stage: match[0]
    for stage in ENTRIES
    if (match := re.findall(r"pipelines/(\w+)\.py", entry_of(stage)["cmd"]))
}
"""Of each stage that runs a script, the script."""

OUTSIDE = ("artifacts", "config", "launcher", "machine", "progress", "stage", "tracking")
"""What every stage may import without depending on it: it brings values in and results out."""


def modules_of(stage: str) -> set[str]:
    """The modules that a stage's script imports, in functions too."""
    tree = ast.parse((ROOT / f"pipelines/{CODE[stage]}.py").read_text())
    found = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    return {name for name in found if name.split(".")[1] not in OUTSIDE}


def test_a_search_depends_on_every_setting_that_decides_what_it_finds() -> None:
    listed = {name for name in entry_of("search")["params"][0]["params.yaml"] if name.startswith("search.")}
    everything = {f"search.{field.name}" for field in fields(Search)}
    others = {name for name in NOT_DECIDING if name.startswith("search.")}
    assert everything >= others
    assert listed == everything - others


@pytest.mark.parametrize("stage", ["search", "finetune", "evaluate"])
def test_another_choice_of_contenders_runs_the_stages_that_go_through_them(stage: str) -> None:
    assert "contenders" in entry_of(stage)["params"][0]["params.yaml"]


@pytest.mark.parametrize("stage", [stage for stage in CODE if not stage.startswith("prepare")])
def test_a_stage_depends_on_the_values_it_reads(stage: str) -> None:
    """As far as its own modules show by saying `config.section.field`; preparing reads those of its role."""
    params = entry_of(stage).get("params", [{"params.yaml": []}])[0]["params.yaml"]
    own = {name.split(".")[1] for name in modules_of(stage)} & {"search", "evaluation", "report", "serving"}
    files = [path for name in own for path in (ROOT / "src/thawline" / name).rglob("*.py")]
    files += [ROOT / f"src/{name.replace('.', '/')}.py" for name in modules_of(stage)]
    read = {name for path in files for name in re.findall(r"\bconfig\.(\w+(?:\.\w+)?)", path.read_text())}
    sections = {field.name for field in fields(Config)} - {"role", "tracking"}
    read = {name for name in read if name.partition(".")[0] in sections} - set(NOT_DECIDING)
    if stage == "search":
        read -= {"trainer.devices", "trainer.nodes"}  # each trial trains in one process
    covered = {
        name
        for name in read
        if any(f"{name}.".startswith(f"{each}.") or each.startswith(f"{name}.") for each in params)
    }
    assert read - covered == set()


def test_the_source_model_depends_on_nothing_of_the_target() -> None:
    stages = ENTRIES
    for name in ("prepare_source", "pretrain"):
        named = str([stages[name][each] for each in ("deps", "params")])
        assert "target" not in named
        assert "finetune" not in named


def test_the_stages_are_those_of_the_pipeline_in_its_order() -> None:
    assert list(ENTRIES) == list(IN_ORDER)


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (RuntimeError("PytorchStreamWriter: No space left on device"), True),
        (RuntimeError("(sqlite3.OperationalError) database or disk is full"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
    ],
)
def test_a_full_disk_is_no_traceback(
    error: Exception, full: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    wrapped = ValueError("could not be written")
    wrapped.__cause__ = error
    with pytest.raises((SystemExit, ValueError)) as raised:
        _exit("pretrain", wrapped)
    assert str(raised.value).startswith("error in stage pretrain: the disk is full.\n") == full
