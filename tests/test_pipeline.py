"""The whole DAG on toy pictures, as a person runs it: `dvc exp run -S …`, then `dvc repro`.

One run is shared by the tests of this file, in order; each changes something and looks at what ran.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import toy_pictures
from matplotlib import get_configdir
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
SHARED = (
    "source=image_folder",
    "target=image_folder",
    "model.architecture=shufflenet_v2_x0_5",
    "pretrain.epochs=1",
    "finetune.epochs=2",
    "finetune.seeds=2",
    "search.trials=2",
    "search.validation=holdout",
    "evaluate.resamples=50",
)


class Checkout:
    """A clone of this repository in a folder with a space in its name, on a machine without a git
    identity."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "a clone"
        self.home = folder / "home"
        self.home.mkdir()
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        for name in listed.stdout.splitlines():
            if (ROOT / name).is_file() and not name.startswith(("reports/", "dvc.lock")):
                (self.root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, self.root / name)
        self.run("git", "init", "-q")
        self.run("git", "add", "-A")
        self.run("git", "-c", "user.name=A", "-c", "user.email=a@b", "commit", "-qm", "clone")
        self.run("sh", "tools/git_identity.sh")  # as `make` does

    def run(self, *command: str, check: bool = True) -> str:
        """Standard output and error together."""
        done = subprocess.run(
            command,
            cwd=self.root,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout
        return done.stdout

    def environment(self) -> dict[str, str]:
        """That of a person without a git identity who has activated the virtual environment."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "GIT_"))}
        path = f"{Path(sys.executable).parent}:{kept['PATH']}"
        # finding all fonts of the machine takes matplotlib many seconds in a new home
        fonts = {"MPLCONFIGDIR": get_configdir()}
        return {**kept, **fonts, "PATH": path, "HOME": str(self.home), "OMP_NUM_THREADS": "1"}

    def stages_of(self, output: str) -> list[str]:
        return [
            line.split("'")[1]
            for line in output.splitlines()
            if line.startswith("Running stage ") and "'" in line
        ]

    def read(self, name: str) -> dict:
        return json.loads((self.root / name).read_text())


def save_pictures(root: Path, per_class: int, seed: int) -> None:
    images, labels = toy_pictures(per_class, seed)
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        (root / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(root / label / f"{index}.png")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pictures")
    save_pictures(root / "source", 20, 0)
    save_pictures(root / "target", 20, 1)
    return root


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return Checkout(tmp_path_factory.mktemp("toy"))


def experiment(checkout: Checkout, pictures: Path, *changes: str, check: bool = True) -> str:
    roots = (f"source.root={pictures / 'source'}", f"target.root={pictures / 'target'}")
    settings = [part for change in (*SHARED, *roots, *changes) for part in ("-S", change)]
    return checkout.run("dvc", "exp", "run", *settings, check=check)


@pytest.fixture(scope="module")
def first(checkout: Checkout, pictures: Path) -> str:
    """What the first experiment printed; everything later starts from its results."""
    return experiment(checkout, pictures)


pytestmark = [pytest.mark.xdist_group("pipeline"), pytest.mark.usefixtures("first")]


@pytest.mark.timeout(600)
def test_one_command_goes_from_pictures_to_a_report(checkout: Checkout, first: str) -> None:
    assert checkout.stages_of(first)[0] == "params"
    metrics = checkout.read("reports/metrics.json")
    for name in ("finetuned", "linear_probe", "from_scratch"):
        found = metrics[name]["accuracy"]
        assert 0 <= found["low"] <= found["mean"] <= found["high"] <= 1
        assert len(metrics[name]["seeds"]) == 2
        assert metrics[name]["n_test"] == 10
    gain = metrics["finetuned"]["accuracy"]["mean"] - metrics["from_scratch"]["accuracy"]["mean"]
    assert metrics["difference"]["accuracy"]["mean"] == pytest.approx(gain)
    assert metrics["recipe"]["depth"] is not None
    assert metrics["data"]["classes"] == ["across", "down"]
    assert "seconds" not in json.dumps(metrics)
    assert (checkout.root / "reports/README.md").exists()
    assert checkout.read("reports/costs.json")


def test_a_second_reproduction_does_nothing(checkout: Checkout) -> None:
    assert checkout.stages_of(checkout.run("dvc", "repro")) == []
    assert "up to date" in checkout.run("dvc", "status")


def test_no_stage_before_evaluate_depends_on_the_test_split(checkout: Checkout) -> None:
    import yaml

    stages = yaml.safe_load((checkout.root / "dvc.lock").read_text())["stages"]
    openers = {
        name
        for name, stage in stages.items()
        if any("artifacts/prepare/test" in dep["path"] for dep in stage["deps"])
    }
    assert openers == {"evaluate"}


def test_the_model_labels_pictures(checkout: Checkout, pictures: Path) -> None:
    output = checkout.run("thawline", "predict", "--json", str(pictures / "target" / "across"))
    entries = json.loads(output)
    assert len(entries) == 20
    assert all(sum(entry["probabilities"].values()) == pytest.approx(1) for entry in entries)
    assert {entry["label"] for entry in entries} <= {"across", "down"}


def test_a_changed_report_reruns_only_the_report(checkout: Checkout, pictures: Path) -> None:
    output = experiment(checkout, pictures, "report.title=Toys")
    assert checkout.stages_of(output) == ["params", "report"]
    assert "Toys" in (checkout.root / "reports/README.md").read_text()


def test_a_wrong_experiment_is_refused_before_anything_runs(checkout: Checkout, pictures: Path) -> None:
    output = experiment(checkout, pictures, "finetune.hed_lr=1", check=False)
    assert "nearest: finetune.head_lr" in output
    assert "Running stage" not in output
    output = experiment(checkout, pictures, "finetune.epochs=0", check=False)
    assert "finetune.epochs = 0 is not allowed" in output
    assert "Running stage" not in output


def test_every_run_is_in_mlflow_and_none_is_left_running(checkout: Checkout) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{checkout.root / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("thawline")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=500)
    table = pd.Series([run.data.tags["stage"] for run in runs]).value_counts()
    assert table["pretrain"] == 1
    assert table["finetune"] == 3 * 2
    assert table["search"] == 3 * (1 + 2)
    assert {run.info.status for run in runs} <= {"FINISHED", "KILLED"}
    assert all("data_fingerprint" in run.data.tags for run in runs)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_changed_recipe_leaves_the_source_model_alone(checkout: Checkout, pictures: Path) -> None:
    checkout.run("git", "add", "-A")
    checkout.run("git", "commit", "-qm", "before")
    output = experiment(checkout, pictures, "search=off", "finetune=linear_probe")
    ran = checkout.stages_of(output)
    assert not {"prepare_source", "prepare_target", "pretrain", "replace_head"} & set(ran)
    assert {"search@finetuned", "finetune@finetuned", "evaluate", "report"} <= set(ran)
    assert checkout.read("reports/metrics.json")["recipe"]["recipe"]["depth"] == "all"


@pytest.mark.slow
def test_dvc_shows_what_changed_in_params_metrics_and_plots(checkout: Checkout) -> None:
    assert "finetune.depth" in checkout.run("dvc", "params", "diff")
    assert "finetuned.accuracy.mean" in checkout.run("dvc", "metrics", "diff", "--all")
    page = checkout.run("dvc", "plots", "show").strip().removeprefix("file://").replace("%20", " ")
    shown = Path(page).read_text()
    assert "Fine-tuning finetuned" in shown
    assert "Confusion" in shown


@pytest.mark.slow
def test_a_stage_called_by_hand_sweeps_and_leaves_dvc_alone(checkout: Checkout, pictures: Path) -> None:
    roots = [*SHARED, f"source.root={pictures / 'source'}", f"target.root={pictures / 'target'}"]
    output = checkout.run(
        "python", "pipelines/search.py", "-m", *roots, "search=off", "finetune.depth=0,1", check=False
    )
    assert output.count("written below scratch") == 2, output
    assert "up to date" in checkout.run("dvc", "status")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_new_pictures_of_the_target_are_noticed(checkout: Checkout, pictures: Path) -> None:
    random = np.random.default_rng(9)
    for index in range(8):
        image = Image.fromarray(random.integers(0, 255, (16, 16, 3), dtype=np.uint8))
        image.save(pictures / "target" / "down" / f"new{index}.png")
    ran = checkout.stages_of(checkout.run("dvc", "repro"))
    assert "prepare_target" in ran
    assert not {"prepare_source", "pretrain"} & set(ran)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_temporary_experiment_runs_its_own_code_and_shares_the_database(
    checkout: Checkout, pictures: Path
) -> None:
    roots = (f"source.root={pictures / 'source'}", f"target.root={pictures / 'target'}")
    settings = [part for change in (*SHARED, *roots, "search=off") for part in ("-S", change)]
    output = checkout.run("dvc", "exp", "run", "--temp", *settings, "-S", "finetune.epochs=1")
    assert "Traceback" not in output
    shown = checkout.run("dvc", "exp", "show", "--csv")
    assert shown.count("\n") >= 2
