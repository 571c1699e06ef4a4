"""The stage that makes the source model."""

from pathlib import Path
from typing import BinaryIO

import pandas as pd
import pytest
import torch
from conftest import write_toy_store
from tests_tracking import recorded

from thawline.artifacts import CARD, HISTORY, MODEL, Artifacts, file_hash
from thawline.config.errors import UserError
from thawline.config.sections import Config, Model, Pretrain, Source, Trainer
from thawline.models.checkpoint import load_model
from thawline.training.classifier import Classifier
from thawline.training.pretrain import pretrain


def config_of(tmp_path: Path) -> Config:
    config = Config(
        model=Model("tests_networks.Small"),
        pretrain=Pretrain(epochs=3, batch_size=8, learning_rate=2e-2),
        trainer=Trainer(accelerator="cpu", threads=1),
    )
    config.tracking.uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    return config


def with_source(root: Path) -> Artifacts:
    made = Artifacts.under(root)
    write_toy_store(made.data_output("source"), {"train": 16, "val": 8})
    return made


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return with_source(tmp_path)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the stage leaves."""
    artifacts = with_source(tmp_path_factory.mktemp("undisturbed"))
    pretrain(config_of(artifacts.root), artifacts)
    return artifacts.stage("pretrain")


def test_the_source_model_is_trained_and_knows_its_labels(undisturbed: Path) -> None:
    folder = undisturbed
    _, card = load_model(folder / MODEL, folder / CARD)
    assert card.classes == ("across", "down")
    assert card.origin == "pretrained on glyphs"
    history = pd.read_csv(folder / HISTORY)
    assert list(history["epoch"]) == list(range(3))
    assert history["train_loss"].iloc[-1] < history["train_loss"].iloc[0]


def test_a_killed_pretraining_goes_on_bit_for_bit(
    undisturbed: Path, artifacts: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Classifier.batch_loss

    def dies_in_the_second_epoch(self: Classifier, batch: object) -> torch.Tensor:
        if self.current_epoch == 1:
            raise SystemError("killed")
        return step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Classifier, "batch_loss", dies_in_the_second_epoch)
        with pytest.raises(SystemError):
            pretrain(config_of(tmp_path), artifacts)
    seen = []
    monkeypatch.setattr(
        Classifier, "on_train_epoch_start", lambda self: seen.append(self.current_epoch) or _start(self)
    )
    pretrain(config_of(tmp_path), artifacts)
    assert seen == [1, 2]
    assert file_hash(artifacts.stage("pretrain") / MODEL) == file_hash(undisturbed / MODEL)


_start = Classifier.on_train_epoch_start


def test_a_pretraining_that_is_killed_after_its_run_ended_is_recorded_once(
    artifacts: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise SystemError("killed")

    with monkeypatch.context() as patch:
        patch.setattr("thawline.training.pretrain.write_json", killed)
        with pytest.raises(SystemError):
            pretrain(config_of(tmp_path), artifacts)
    pretrain(config_of(tmp_path), artifacts)
    (run,) = recorded()
    assert run.info.status == "FINISHED"


def test_out_of_memory_is_tried_again_in_smaller_parts(
    artifacts: Artifacts, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thawline.training.pretrain.leads", lambda: False)  # nothing to record
    config = config_of(tmp_path)
    config.model.architecture, config.pretrain.epochs = "tests_networks.Hungry", 1
    with caplog.at_level("INFO"):
        pretrain(config, artifacts)
    assert "trying again with 4 at a time" in caplog.text
    assert "pretrain: 4/4" in caplog.text
    assert {path.parent.name for path in artifacts.checkpoints.rglob("*.ckpt")} == {"in-2-parts"}


def test_too_little_memory_is_said_before_the_first_step(artifacts: Artifacts, tmp_path: Path) -> None:
    config = config_of(tmp_path)
    config.trainer.memory_gib = 0.5
    with pytest.raises(UserError, match=r"trainer\.memory_gib = 0\.5, but 2 pictures at a time"):
        pretrain(config, artifacts)


def test_weights_are_taken_over_without_training(tmp_path: Path) -> None:
    from thawline.models.zoo import build

    network = build("tests_networks.Small", 5, seed=3)
    torch.save(network.state_dict(), tmp_path / "published.pth")
    config = config_of(tmp_path)
    config.source = Source(dataset=None, weights=str(tmp_path / "published.pth"))
    artifacts = Artifacts.under(tmp_path)
    pretrain(config, artifacts)
    folder = artifacts.stage("pretrain")
    loaded, card = load_model(folder / MODEL, folder / CARD)
    assert len(card.classes) == 5
    assert torch.equal(loaded.get_parameter("head.weight"), network.get_parameter("head.weight"))
    assert len((folder / HISTORY).read_text().splitlines()) == 1


def test_a_process_that_does_not_lead_trains_and_writes_nothing(
    artifacts: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[int] = []
    monkeypatch.setattr("thawline.training.pretrain.leads", lambda: False)
    monkeypatch.setattr("thawline.training.pretrain.say", lambda row: trained.append(row["epoch"]))
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    pretrain(config_of(tmp_path), artifacts)
    assert trained == list(range(3))
    # Lightning writes checkpoints, and knows itself who leads
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} - {"last.ckpt"} == {
        path.name for path in before
    }


def test_a_checkpoint_that_cannot_be_written_leaves_the_former_one(
    artifacts: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the disk is full, wherever temporary files lie."""
    whole = torch.save

    def full(content: dict[str, object], file: BinaryIO) -> None:
        if content["epoch"] == 1:
            file.write(b"PK")
            raise OSError(28, "No space left on device")
        whole(content, file)

    monkeypatch.setattr("thawline.training.resumption.torch.save", full)
    with pytest.raises(OSError, match="No space left"):
        pretrain(config_of(tmp_path), artifacts)
    (last,) = tmp_path.rglob("last.ckpt")
    assert torch.load(last, weights_only=True)["epoch"] == 0
    assert list(last.parent.iterdir()) == [last]
