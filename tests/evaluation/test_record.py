"""The run in MLflow that says what the test pictures said."""

from dataclasses import replace
from pathlib import Path

import pytest
from conftest import write_toy_recipe
from mlflow import MlflowClient
from mlflow.entities import Run

from thawline.artifacts import METRICS, Artifacts, write_json
from thawline.config.sections import Config, Contender, Plan
from thawline.evaluation.metrics import METRICS as NAMES
from thawline.evaluation.record import RECORDED, record

INTERVAL = {"mean": 0.9, "low": 0.8, "high": 0.95}
CONFIG = Config(contenders=[Contender.finetuned, Contender.linear_probe], plan=Plan(minutes=5))


@pytest.fixture
def evaluated(toy_artifacts: Artifacts) -> Artifacts:
    write_toy_recipe(toy_artifacts, depth=1)
    measured = {contender.name: dict.fromkeys(NAMES, INTERVAL) for contender in CONFIG.contenders}
    write_json(toy_artifacts.reports / METRICS, measured)
    return toy_artifacts


def runs(root: Path) -> list[Run]:
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    (experiment,) = [each for each in client.search_experiments() if each.name == "thawline"]
    return list(client.search_runs([experiment.experiment_id]))


def test_a_run_has_the_test_accuracy_with_its_interval_beside_the_chosen_recipe(evaluated: Artifacts) -> None:
    record(CONFIG, evaluated)
    (run,) = runs(evaluated.root)
    assert [run.data.metrics[f"test_accuracy{end}"] for end in ("", "_low", "_high")] == [0.9, 0.8, 0.95]
    assert run.data.metrics["linear_probe_test_accuracy"] == 0.9
    assert {f"test_{name}" for name in RECORDED} <= set(run.data.metrics)
    assert run.data.params["depth"] == "0"
    assert (run.data.tags["stage"], run.data.tags["state"], run.data.tags["minutes"]) == (
        *("evaluate", "complete"),
        "5",
    )
    (data,) = run.inputs.dataset_inputs
    assert [tag.value for tag in data.tags] == ["test"]


def test_the_same_evaluation_is_one_run_and_another_is_another(evaluated: Artifacts) -> None:
    for _ in range(2):
        record(CONFIG, evaluated)
    record(replace(CONFIG, seed=1), evaluated)
    assert len(runs(evaluated.root)) == 2
