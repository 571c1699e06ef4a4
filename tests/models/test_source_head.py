"""What the source's own head says of target pictures is said in the log and on the card."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from thawline.data.transform import Transform
from thawline.models.card import ModelCard
from thawline.models.source_head import PICTURES, doubt, same_classes, source_head

TRANSFORM = Transform(4, 4, 1, "crop", "bilinear", (0.0,), (1.0,))
LABELS = ("Great_White-shark", "corn", "unknown")
CARD = ModelCard("x", {}, ("tench, Tinca tinca", "great white shark, man-eater", "corn"), TRANSFORM, "x")


class Brightness(nn.Module):
    """Says, and is the surer the lower its `temper`, what class a picture's brightness stands for."""

    def __init__(self, temper: float = 0.01) -> None:
        super().__init__()
        self.features = nn.Conv2d(1, 1, 1)
        self.fc = nn.Linear(1, 3)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.zero_()
            self.features.weight += 1
            self.fc.weight += torch.tensor([[-1.0], [-0.2], [0.4]]) / temper
            self.fc.bias += torch.tensor([0.0, 0.4, 0.3]) / temper - 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.features(x).mean((2, 3)))


@dataclass
class Pictures:
    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...] = LABELS
    transform: Transform = TRANSFORM

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, split: str) -> "Pictures":
        assert split == "train"
        return self


def pictures(each: int = 40) -> Pictures:
    """Bright ones of class 1, dark ones of class 0, and some of another."""
    labels = np.repeat([0, 1, 2], each)
    images = np.where(labels == 1, 250, 5).astype(np.uint8)[:, None, None, None]
    return Pictures(np.tile(images, (1, 4, 4, 1)), labels)


def test_where_labels_are_the_same_its_accuracy_is_said(caplog: pytest.LogCaptureFixture) -> None:
    store = pictures()
    store.labels[:20] = 1  # dark ones that are said to be corn
    with caplog.at_level(logging.INFO):
        found = source_head(Brightness(), CARD, store)
    assert found is not None
    assert found["classes"] == 3
    assert PICTURES <= found["pictures"] <= 2 * PICTURES
    assert found["known"] >= PICTURES
    assert found["accuracy"] == pytest.approx(0.75, abs=0.05)
    assert f"% right of {found['known']} whose class it has" in caplog.text


@pytest.mark.parametrize(("temper", "low", "high"), [(0.001, 0.0, 0.05), (1000.0, 0.99, 1.0)])
def test_how_unsure_it_is_is_a_share_of_guessing(
    temper: float, low: float, high: float, caplog: pytest.LogCaptureFixture
) -> None:
    store = replace(pictures(2), classes=("a", "b", "c"))
    with caplog.at_level(logging.INFO):
        found = source_head(Brightness(temper), CARD, store)
    assert found is not None
    assert low <= found["doubt"] <= high
    assert found["pictures"] == 6
    assert "accuracy" not in found
    assert f"it is {100 * found['doubt']:.0f} % as unsure as by guessing among 3 classes" in caplog.text


def test_answers_that_are_no_numbers_are_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    network = Brightness()
    nn.init.constant_(network.features.weight, float("nan"))
    found = source_head(network, CARD, pictures(2))
    assert found is not None
    assert found["doubt"] is None
    assert "its answers are no numbers; are these this network's weights?" in caplog.text


def test_a_head_that_came_with_no_weights_is_not_asked() -> None:
    card = replace(CARD, tensors={"copied": [], "dropped": [], "initialised": ["fc.bias", "fc.weight"]})
    assert source_head(Brightness(), card, pictures(2)) is None


def test_the_same_pictures_are_asked_about_every_time() -> None:
    assert source_head(Brightness(), CARD, pictures()) == source_head(Brightness(), CARD, pictures())


@pytest.mark.parametrize(
    ("source", "target", "same"),
    [
        (["daisy", "rose"], ["roses", "Daisy"], {1: 0}),
        (["tench, Tinca tinca"], ["tinca_tinca"], {0: 0}),
        (["crane", "crane"], ["crane"], {}),
        (["0", "1"], ["1", "0"], {0: 1, 1: 0}),
        ([], ["a"], {}),
    ],
)
def test_classes_are_the_same_by_one_of_their_names(source: list, target: list, same: dict) -> None:
    assert same_classes(source, target) == same


def test_doubt_is_that_of_the_answers() -> None:
    assert doubt(torch.zeros(3, 7)) == 1.0
    assert doubt(torch.tensor([[0.0, 0.0, -1e9, -1e9]])) == 0.5


def test_the_card_and_the_log_of_the_stage_say_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from conftest import write_toy_store

    from thawline.artifacts import Artifacts
    from thawline.config.sections import Config
    from thawline.models.card import read_card
    from thawline.models.checkpoint import build_random, save_model
    from thawline.models.replace_head import replace_head

    artifacts = Artifacts.under(tmp_path)
    store = write_toy_store(artifacts.data_output("target"), {"train": 8, "val": 8})
    card = ModelCard("tests_networks.Small", {}, ("down", "up", "across"), store.transform, "x")
    folder = artifacts.stage_output("pretrain")
    save_model(folder / "model.safetensors", folder / "card.json", build_random(card), card)
    with caplog.at_level(logging.INFO):
        replace_head(Config(), artifacts)
    said = read_card(artifacts.stage("replace_head") / "card.json").notes["source_head"]
    assert (said["pictures"], said["classes"], said["known"]) == (16, 3, 16)
    assert "the source model's own head on 16 training pictures" in caplog.text
