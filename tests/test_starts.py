"""What the stages load before they know whether there is anything to do: seconds of every reproduction."""

import ast
import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from conftest import TRANSFORM
from PIL import Image

from thawline.artifacts import CARD, MODEL
from thawline.models.card import ModelCard
from thawline.models.checkpoint import build_random, save_model
from thawline.serving.formats import registered

ROOT = Path(__file__).resolve().parents[1]

TRAINING = ("pytorch_lightning", "lightning_fabric", "torchmetrics", "mlflow")
"""What is loaded when a training begins, or its first run."""
NEVER = ("timm", "torch._dynamo", "sympy", "sklearn", "scipy.stats", "matplotlib.pyplot", *TRAINING)
"""timm is for its own networks, PyTorch's compiler for trainings by gradient descent."""

UNWANTED = {
    "params": ("torch", "pandas", "numpy", "optuna", *NEVER),
    "prepare": ("torch", "torchvision", "optuna", "scipy.sparse", "scipy.special", *NEVER),
    "supervise": ("torch", "torchvision", "optuna", "scipy.sparse", "scipy.special", "cleanlab", *NEVER),
    "report": ("torch", "torchvision", "optuna", *NEVER),
    "replace_head": ("optuna", *NEVER),
    "export": ("optuna", *NEVER),
    "evaluate": ("optuna", *NEVER),
    "pretrain": ("optuna", *NEVER),
    "plan": ("optuna", *NEVER),
    "review": ("optuna", *NEVER),
    "choose_source": ("optuna", *NEVER),
    "finetune": ("optuna", *NEVER),
    "search": NEVER,
    "a training": ("timm", "sklearn", "scipy.signal", "scipy.stats", "mlflow"),
}
"""By stage, what it must not load; what one stage may load, those below it may load, too."""


NO_SCRIPTS = {"params": "import thawline.config.composition", "a training": "import thawline.training.fit"}


def imports_of(stage: str) -> str:
    """Return the import statements that the script of a stage runs, or does when it is called."""
    if stage in NO_SCRIPTS:
        return NO_SCRIPTS[stage]
    tree = ast.parse((ROOT / "pipelines" / f"{stage}.py").read_text())
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    return "\n".join(map(ast.unparse, found))


@pytest.fixture(scope="module")
def loaded() -> dict[str, list[str]]:
    """Return what of `UNWANTED` was loaded after each stage: all in one process, one after the other."""
    watched = sorted({name for names in UNWANTED.values() for name in names})
    program = ["import json, sys", "found = {}"]
    for stage in UNWANTED:
        program += [imports_of(stage), f"found[{stage!r}] = [n for n in {watched!r} if n in sys.modules]"]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join([*program, "print(json.dumps(found))"])],
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("stage", UNWANTED)
def test_a_stage_loads_nothing_it_may_not_need(stage: str, loaded: dict[str, list[str]]) -> None:
    assert set(loaded[stage]) & set(UNWANTED[stage]) == set()


@pytest.mark.slow
def test_every_stage_is_in_the_table() -> None:
    scripts = {path.stem for path in (ROOT / "pipelines").glob("*.py")}
    assert set(UNWANTED) == {*NO_SCRIPTS, *scripts} - {"range_test"}


LABELLING = """
import json, sys
import thawline.serving.served
from thawline.serving.cli import main
try:
    main(["predict", "--model", *sys.argv[1:]])
except SystemExit as ended:
    print(json.dumps([ended.code, *sys.modules]))
"""


@pytest.fixture(scope="module")
def labelling(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Return the modules of a process that labelled a picture, and could have done so for MLflow."""
    folder = tmp_path_factory.mktemp("labelling")
    card = ModelCard("timm:mobilenetv3_small_050", {}, ("a", "b"), TRANSFORM, "random")
    save_model(folder / MODEL, folder / CARD, build_random(card, seed=0), card)
    Image.new("RGB", (20, 20)).save(folder / "a.png")
    command = [sys.executable, "-c", LABELLING, str(folder), str(folder / "a.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    code, *modules = json.loads(done.stdout.splitlines()[-1])
    assert code == 0
    return set(modules)


@pytest.mark.slow
def test_labelling_a_picture_loads_what_answers_and_nothing_else(labelling: set[str]) -> None:
    assert "timm" in labelling
    assert ({"optuna", "pandas", "scipy", "hydra", *NEVER} - {"timm"}) & labelling == set()


@pytest.mark.slow
def test_all_that_labelling_imports_of_its_own_accord_is_required(labelling: set[str]) -> None:
    found = packages_distributions()
    text = "\n".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    direct = {
        name
        for name in {module.partition(".")[0] for module in labelling}
        if f"\nimport {name}" in text or f"\nfrom {name}" in text
    }
    assert "torch" in direct
    needed = {each.lower() for name in direct for each in found.get(name, [])} - {"thawline"}
    assert needed <= set(registered.PACKAGES)


@pytest.mark.slow
def test_a_stage_that_dvc_calls_loads_no_hydra_and_a_plan_without_minutes_no_torch(tmp_path: Path) -> None:
    for name in ("params.yaml", "pipelines/plan.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    command = [sys.executable, "-X", "importtime", "pipelines/plan.py", "-cd", ".", "-cn", "params"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    seen = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "|" in line}
    assert "thawline.plan.decisions" in seen
    assert not seen & {"hydra", "torch", "numpy", "pandas", *NEVER}
    assert list((tmp_path / "artifacts" / "plan" / "model").iterdir())
