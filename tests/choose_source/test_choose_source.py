"""The stage: the cheapest source that cannot be told from the best, found without test pictures."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from tests_networks import Small

from thawline.artifacts import SOURCE, SOURCES, Artifacts, read_json
from thawline.choose_source.choose_source import choose_source
from thawline.choose_source.decision import with_chosen_source
from thawline.choose_source.looks import looked_at, most_pictures
from thawline.config.choices import DataSetName
from thawline.config.errors import UserError
from thawline.config.sections import Config, Input, Plan, Source, Target, Trainer
from thawline.data.prepare import prepare
from thawline.data.store import open_store
from thawline.data.transform import Transform
from thawline.models.card import ModelCard
from thawline.models.checkpoint import save_model
from thawline.models.preprocessing import transform_for

Saved = Callable[..., str]


@pytest.fixture
def saved(tmp_path: Path) -> Saved:
    """Save a small source model that sees pictures of `side` pixels, `blind` or not; the candidate."""

    def save(name: str, side: int = 16, *, blind: bool = False, seed: int = 0) -> str:
        torch.manual_seed(seed)
        network = Small(3).eval()
        if blind:
            torch.nn.init.zeros_(network.stem[0].weight)
        transform = Transform(side, side, 3, "crop", "bilinear", (0.5,) * 3, (0.25,) * 3)
        card = ModelCard("tests_networks.Small", {}, ("a", "b", "c"), transform, "made up")
        weights = tmp_path / name / "model.safetensors"
        save_model(weights, weights.with_name("card.json"), network, card)
        return f"tests_networks.Small={weights}"

    return save


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Dark and bright noise, 24 training and 6 test pictures of each."""
    random = np.random.default_rng(0)
    for split, count in (("train", 24), ("test", 6)):
        for label, light in (("bright", 120), ("dark", 60)):
            folder = tmp_path / "pictures" / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, light, (24, 24, 3), np.uint8) + np.uint8(light)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "pictures"


def configured(pictures: Path, *candidates: str) -> Config:
    return Config(
        source=Source(weights="DEFAULT", candidates=list(candidates)),
        target=Target(DataSetName.image_folder, str(pictures), val_fraction=0.25, near_duplicate_bits=-1),
        input=Input(size=None, fit=None),
        trainer=Trainer(accelerator="cpu", threads=1),
    )


def chosen(root: Path, pictures: Path, *candidates: str) -> tuple[Config, Artifacts, pd.DataFrame]:
    config = configured(pictures, *candidates)
    artifacts = Artifacts.under(root)
    choose_source(config, artifacts)
    return config, artifacts, pd.read_csv(artifacts.reports / SOURCES)


def test_the_source_that_tells_classes_apart_is_taken(tmp_path: Path, pictures: Path, saved: Saved) -> None:
    blind, good = saved("blind", blind=True), saved("good")
    config, artifacts, table = chosen(tmp_path, pictures, blind, good)
    assert list(table["chosen"]) == [False, True]
    assert table["accuracy"][1] > 0.9 > 0.7 > table["accuracy"][0]
    assert table["neighbours"][1] > 0.9
    assert table["high"][0] < 0  # by more than chance
    assert read_json(artifacts.stage("choose_source") / SOURCE)["origin"].startswith("thawline model")
    found = with_chosen_source(config, artifacts)
    assert f"{found.model.architecture}={found.source.weights}" == good


def test_of_equal_sources_the_cheapest_is_taken_and_it_is_said(
    tmp_path: Path, pictures: Path, saved: Saved, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        _, _, table = chosen(tmp_path, pictures, saved("large", 24), saved("small"), saved("copy"))
    assert table["alike"].all()
    assert list(table["chosen"]) == [False, True, False]
    assert table["operations"][0] > table["operations"][1] == table["operations"][2]
    own = ["accuracy", "neighbours", "log_me", "h_score", "leep"]
    assert table.loc[1, own].equals(table.loc[2, own])
    assert "cannot be told apart" in caplog.text


def test_a_source_is_judged_by_the_means_over_positions_at_its_last_cut(
    tmp_path: Path, pictures: Path, saved: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    maps = np.random.default_rng(0).normal(size=(48, 5, 3, 2)).astype(np.float32)
    monkeypatch.setattr(
        "thawline.choose_source.looks.features_in_memory",
        lambda _, depths, *__, **___: dict.fromkeys(depths, maps),
    )
    monkeypatch.setattr("thawline.choose_source.looks.has_head", lambda *_: False)
    _, looks = looked_at(configured(pictures, saved("good")), tmp_path)
    assert next(looks).features == pytest.approx(maps.mean((2, 3)))


def test_it_repeats_and_test_pictures_change_nothing(tmp_path: Path, pictures: Path, saved: Saved) -> None:
    candidates = saved("one"), saved("other", 24, seed=1)
    _, first, before = chosen(tmp_path / "first", pictures, *candidates)
    for path in (pictures / "test").rglob("*.png"):
        Image.open(path).transpose(Image.Transpose.ROTATE_90).point(lambda value: 255 - value).save(path)
    _, second, after = chosen(tmp_path / "second", pictures, *candidates)
    decisions = [(each.stage("choose_source") / SOURCE).read_bytes() for each in (first, second)]
    assert decisions[0] == decisions[1]
    assert str(tmp_path).encode() not in decisions[0]
    pd.testing.assert_frame_equal(before.drop(columns="seconds"), after.drop(columns="seconds"))
    assert before["pictures"].tolist() == [48, 48]


def test_a_candidate_that_nobody_knows_ends_it_before_anything_is_decoded(
    tmp_path: Path, pictures: Path, saved: Saved, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO), pytest.raises(UserError, match="NO_SUCH"):
        chosen(tmp_path, pictures, saved("good"), "resnet18=NO_SUCH")
    assert "decoding" not in caplog.text


@pytest.mark.parametrize(("minutes", "pictures"), [(None, 1000), (10, 500), (1, 50), (60, 1000)])
def test_few_minutes_are_spent_on_few_pictures(minutes: float | None, pictures: int) -> None:
    source = Source(weights="DEFAULT", candidates=["resnet18=DEFAULT", "resnet50=DEFAULT"])
    config = Config(source=source, input=Input(size=None), plan=Plan(minutes=minutes))
    assert most_pictures(config) == pictures


def test_pictures_are_divided_as_for_the_target_and_what_is_voted_for_decides_nothing(
    tmp_path: Path, pictures: Path, saved: Saved
) -> None:
    root = pictures / "train"
    for number in range(4):
        (root / "dark" / f"{number}.png").rename(root / f"new{number}.png")
    votes = tmp_path / "votes.csv"
    votes.write_text("\n".join(["path,ann", *(f"new{number}.png,dark" for number in range(4))]))
    target = Target(DataSetName.image_folder, str(root), near_duplicate_bits=-1, votes=str(votes))
    config = Config(
        source=Source(weights="DEFAULT", candidates=[saved("one"), saved("two")]),
        target=target,
        input=Input(size=None, fit=None),
        trainer=Trainer(accelerator="cpu", threads=1),
    )
    targets, _ = looked_at(config, tmp_path)
    prepare(replace(config, input=Input(size=16)), transform_for, Artifacts.under(tmp_path))
    own = open_store(Artifacts.under(tmp_path).data_output("target"))
    assert targets.classes == len(own.classes) == 2
    assert set(own.manifest["split"]) >= {"train", "voted"}
    deciding = own.labels[(own.manifest["split"] != "voted").to_numpy()]
    np.testing.assert_array_equal(np.sort(targets.labels), np.sort(deciding))
