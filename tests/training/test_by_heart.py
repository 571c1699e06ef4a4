"""A training that knows its own pictures and is at chance on others says so; others say nothing."""

from pathlib import Path

import numpy as np
import pytest
from conftest import write_toy_store
from mlflow import MlflowClient

from thawline.artifacts import COSTS, Artifacts, read_json
from thawline.config.sections import Config, Contender, Finetune, Model, Pretrain, Trainer
from thawline.training.by_heart import by_heart
from thawline.training.finetune import finetune
from thawline.training.history import Row, history_row
from thawline.training.pretrain import pretrain
from thawline.training.recipe import Chosen, write_chosen

TEN = np.arange(50) % 10
SAID = "It knows its training pictures"


def rows(train_loss: float, accuracy: float) -> list[Row]:
    return [history_row(0, 2.3, (2.3, 0.1), 1.0), history_row(1, train_loss, (3.0, accuracy), 1.0)]


@pytest.mark.parametrize(
    ("train_loss", "accuracy", "labels"),
    [
        pytest.param(0.0, 0.1, TEN, id="ten classes"),
        pytest.param(0.0, 0.02, TEN, id="worse than a guess"),
        pytest.param(0.2, 0.5, np.arange(40) % 2, id="two classes"),
        pytest.param(0.1, 0.8, (np.arange(50) % 5 == 0).astype(int), id="always the commonest class"),
    ],
)
def test_by_heart(train_loss: float, accuracy: float, labels: np.ndarray) -> None:
    said = by_heart(rows(train_loss, accuracy), 1, labels)
    assert said is not None
    assert said.startswith(f"{SAID} (loss {train_loss:.3f})")
    assert f"of {len(labels)} validation pictures no more than a guess: {accuracy:.1%}" in said


@pytest.mark.parametrize(
    ("train_loss", "accuracy", "labels"),
    [
        pytest.param(0.0, 0.3, TEN, id="better than a guess"),
        pytest.param(2.2, 0.1, TEN, id="knows nothing yet"),
        pytest.param(0.05, 5 / 6, np.arange(6) % 2, id="too few pictures to tell"),
        pytest.param(0.0, 1.0, np.zeros(9, int), id="one class"),
        pytest.param(0.0, float("nan"), TEN[:0], id="no validation pictures"),
    ],
)
def test_nothing_is_said_otherwise(train_loss: float, accuracy: float, labels: np.ndarray) -> None:
    assert by_heart(rows(train_loss, accuracy), 1, labels) is None


def test_averaged_weights_have_the_loss_of_what_was_trained_last() -> None:
    averaged = [*rows(0.0, 0.9), history_row(2, float("nan"), (3.0, 0.1), 1.0)]
    assert by_heart(averaged, 2, TEN) is not None
    assert by_heart(averaged, 1, TEN) is None


def config_of(tmp_path: Path) -> Config:
    config = Config(
        contenders=[Contender.finetuned],
        model=Model("tests_networks.Small"),
        pretrain=Pretrain(epochs=1, batch_size=8),
        trainer=Trainer(accelerator="cpu", threads=1),
    )
    config.tracking.uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    return config


def tags_of(config: Config) -> list[str | None]:
    client = MlflowClient(config.tracking.uri)
    experiment = client.get_experiment_by_name("thawline")
    assert experiment is not None
    return [run.data.tags.get("warning") for run in client.search_runs([experiment.experiment_id])]


@pytest.mark.parametrize("stage", ["pretrain", "finetune"])
def test_it_is_in_the_log_in_mlflow_and_in_what_the_report_reads(
    stage: str,
    toy_artifacts: Artifacts,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(f"thawline.training.{stage}.by_heart", lambda *_: SAID)
    config = config_of(tmp_path)
    if stage == "pretrain":
        write_toy_store(toy_artifacts.data_output("source"), {"train": 8, "val": 8})
        pretrain(config, toy_artifacts)
        costs = read_json(toy_artifacts.stage("pretrain") / COSTS)
    else:
        recipe = Finetune(epochs=1, batch_size=4, body_lr=1e-2, head_lr=1e-2, seeds=1)
        chosen = Chosen(Contender.finetuned, recipe, 0, None, None)
        write_chosen(toy_artifacts.stage_output("search", "finetuned") / "recipe.json", chosen)
        finetune(config, toy_artifacts)
        costs = read_json(toy_artifacts.stage("finetune", "finetuned") / COSTS)["seeds"]["0"]
    assert costs["warning"] == SAID
    assert tags_of(config) == [SAID]
    assert [each.levelname for each in caplog.records if SAID in each.getMessage()] == ["WARNING"]
