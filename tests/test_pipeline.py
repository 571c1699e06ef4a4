"""The scripts of dvc.yaml in its order, on toy pictures, in one process. `test_readme.py` lets DVC run them.

The pipeline runs once, and the tests of this file look at what it left.
"""

import json
import runpy
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from omegaconf import DictConfig
from tests_clone import ROOT, save_pictures

from thawline.artifacts import Artifacts, read_json
from thawline.config.composition import compose, to_config

SETTINGS = (
    "source=image_folder",
    "target=image_folder",
    "model.architecture=tests_networks.Small",
    "input.size=16",
    "pretrain.epochs=1",
    "finetune.epochs=2",
    "finetune.seeds=2",
    "search.trials=1",
    "search.validation=holdout",
    "review.repeats=1",
    "evaluate.resamples=50",
)
TEST_SPLIT = "artifacts/prepare/test"


def stages() -> Iterator[tuple[str, dict[str, Any]]]:
    """Go through dvc.yaml's stages that run a script."""
    for name, entry in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].items():
        if "pipelines/" in entry["cmd"]:
            yield name, entry


def paths(entries: list[Any]) -> list[str]:
    """Name the files and folders that are listed, of the pipeline's own making."""
    names = [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]
    return [name for name in names if name.startswith(("artifacts/", "reports/"))]


@cache
def composed(*overrides: str) -> DictConfig:
    return compose(ROOT, list(overrides))


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    """Run all stages. While one runs, what it does not declare to depend on is not there; afterwards,
    everything that it declares to write is."""
    root = tmp_path_factory.mktemp("toy pipeline")
    save_pictures(root / "source", 20, 0)
    save_pictures(root / "target", 20, 1)
    settings = [*SETTINGS, f"source.root={root / 'source'}", f"target.root={root / 'target'}"]
    aside = root / "aside"
    for name, entry in stages():
        script, *arguments = entry["cmd"].partition("pipelines/")[2].split()
        # to open the test split is what no other stage could
        hidden = (root / TEST_SPLIT).exists() and TEST_SPLIT not in entry["deps"]
        if hidden:
            (root / TEST_SPLIT).rename(aside)
        config = to_config(composed(*settings, *(each for each in arguments if "=" in each)))
        run_script(script, config, Artifacts.under(root))
        if hidden:
            aside.rename(root / TEST_SPLIT)
        outs = paths([*entry["outs"], *entry.get("plots", []), *entry.get("metrics", [])])
        assert [each for each in outs if not (root / each).exists()] == [], name
    return Artifacts.under(root)


def test_the_lock_holds_stages_of_the_pipeline_alone() -> None:
    """DVC keeps what it once locked of stages that are gone, and reads and writes it after every stage."""
    stages, locked = (
        set(yaml.safe_load((ROOT / name).read_text())["stages"]) for name in ("dvc.yaml", "dvc.lock")
    )
    assert locked <= stages


def run_script(script: str, *given: Any) -> None:
    """Run a script of pipelines/ as `thawline.stage.run` would, but for the command line."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DVC_ROOT", raising=False)
        patch.setattr("thawline.stage.run", lambda _, stage, **__: stage(*given))
        runpy.run_path(str(ROOT / "pipelines" / script), run_name="__main__")


@pytest.fixture
def metrics(pipeline: Artifacts) -> dict[str, Any]:
    return read_json(pipeline.reports / "metrics.json")


def test_every_contender_is_measured_on_the_test_pictures(metrics: dict[str, Any]) -> None:
    for name in ("finetuned", "linear_probe", "from_scratch"):
        found = metrics[name]["accuracy"]
        assert 0 <= found["low"] <= found["mean"] <= found["high"] <= 1
        assert len(metrics[name]["seeds"]) == 2
        assert metrics[name]["n_test"] == 10
    gain = metrics["finetuned"]["accuracy"]["mean"] - metrics["from_scratch"]["accuracy"]["mean"]
    assert metrics["difference"]["accuracy"]["mean"] == pytest.approx(gain)
    assert metrics["recipe"]["depth"] is not None
    assert metrics["data"]["classes"] == ["across", "down"]


def test_what_the_bundle_answers_is_measured_on_the_test_pictures(metrics: dict[str, Any]) -> None:
    found = metrics["answers"]
    assert found["basis"].startswith("Fitted on")
    assert found["temperature"] > 0
    assert set(found["calibration"]) == {"before", "after", "difference"}
    assert 0 <= found["unknown"]["on_test"]["low"] <= found["unknown"]["on_test"]["high"] <= 1


def test_metrics_say_nothing_that_differs_between_two_reproductions(metrics: dict[str, Any]) -> None:
    assert "seconds" not in json.dumps(metrics)


def test_the_report_is_a_page_with_costs(pipeline: Artifacts) -> None:
    assert "## How much to freeze" in (pipeline.reports / "README.md").read_text()
    assert read_json(pipeline.reports / "costs.json")["stages"]["finetune/finetuned"]["runs"] == 2


def test_git_does_not_keep_the_page_because_it_shows_pictures() -> None:
    (report,) = (entry for name, entry in stages() if name == "report")
    assert "reports/index.html" in report["outs"], "DVC keeps it, with its cache"
    assert "/reports/index.html" in (ROOT / ".gitignore").read_text().splitlines()


def test_no_stage_before_evaluate_depends_on_the_test_split() -> None:
    assert {name for name, entry in stages() if TEST_SPLIT in entry["deps"]} == {"evaluate"}


def test_the_model_labels_pictures(pipeline: Artifacts, capsys: pytest.CaptureFixture[str]) -> None:
    from thawline.serving.cli import main

    bundle = str(pipeline.stage("export"))
    with pytest.raises(SystemExit) as ended:
        main(["predict", "--json", "--model", bundle, str(pipeline.root / "target" / "across")])
    assert ended.value.code == 0
    entries = json.loads(capsys.readouterr().out)
    assert len(entries) == 20
    assert all(sum(entry["probabilities"].values()) == pytest.approx(1) for entry in entries)
    assert {entry["label"] for entry in entries} <= {"across", "down"}


def test_every_run_is_in_mlflow_and_none_is_left_running(pipeline: Artifacts) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{pipeline.root / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("thawline")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=500)
    table = pd.Series([run.data.tags["stage"] for run in runs]).value_counts()
    assert table["pretrain"] == 1
    assert table["finetune"] == 3 * 2
    assert table["evaluate"] == 1
    assert table["search"] == 3 * (1 + 1), "a study and its trial for each contender"
    assert {run.info.status for run in runs} <= {"FINISHED", "KILLED"}
    assert all("data_fingerprint" in run.data.tags for run in runs)


def test_every_number_of_a_history_is_one(pipeline: Artifacts) -> None:
    history = pd.read_csv(pipeline.stage("finetune", "finetuned") / "history.csv")
    assert np.isfinite(history[["train_loss", "val_loss", "val_accuracy"]]).all(axis=None)
