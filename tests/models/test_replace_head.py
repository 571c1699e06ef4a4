from dataclasses import replace

import numpy as np
import pytest

from thawline.artifacts import Artifacts, file_hash
from thawline.config.errors import UserError
from thawline.config.sections import Config, HeadVariant, Model
from thawline.data.transform import Transform
from thawline.models import replace_head as stage
from thawline.models.card import ModelCard
from thawline.models.checkpoint import build_random, load_model, save_model
from thawline.models.freezing import state_hashes
from thawline.models.head import head_parameters

CARD = ModelCard(
    "tests_networks.Small",
    {},
    ("a", "b", "c"),
    Transform(32, 32, 1, "crop", "bilinear", (0.5,), (0.25,)),
    "pretrained on letters",
)


class Target:
    classes = ("0", "1", "2")
    fingerprint = "ab12"
    transform = CARD.transform
    images = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 1), dtype=np.uint8)
    labels = np.array([0, 1, 2, 0, 1, 2])

    def __len__(self):
        return 6

    def part(self, _):
        return self


@pytest.fixture
def artifacts(tmp_path, monkeypatch):
    monkeypatch.setattr(stage, "open_store", lambda folder: Target())  # noqa: ARG005
    artifacts = Artifacts.under(tmp_path)
    folder = artifacts.stage_output("pretrain")
    save_model(folder / "model.safetensors", folder / "card.json", build_random(CARD, seed=1), CARD)
    return artifacts


def test_a_target_of_more_than_8_bits_brings_its_own_black_and_white(artifacts, monkeypatch):
    monkeypatch.setattr(Target, "transform", replace(CARD.transform, range=(0, 1023)))
    stage.replace_head(Config(), artifacts)
    _, card = load_model(*paths(artifacts, "replace_head"))
    assert card.transform == Target.transform


def test_the_initial_target_model_has_the_sources_body_and_the_targets_classes(artifacts):
    stage.replace_head(Config(), artifacts)
    source, _ = load_model(*paths(artifacts, "pretrain"))
    target, card = load_model(*paths(artifacts, "replace_head"))
    old, new = state_hashes(source), state_hashes(target)
    assert {name for name in old if old[name] != new[name]} == {"head.weight", "head.bias"}
    assert card.classes == ("0", "1", "2")
    assert card.tensors["initialised"] == card.tensors["dropped"] == ["head.bias", "head.weight"]
    assert len(card.tensors["copied"]) == len(new) - 2
    assert card.source_hash == file_hash(paths(artifacts, "pretrain")[0])
    assert card.transform == CARD.transform


def test_a_second_run_writes_the_same_bytes(artifacts):
    written = []
    for _ in range(2):
        stage.replace_head(Config(), artifacts)
        written.append([path.read_bytes() for path in paths(artifacts, "replace_head")])
    assert written[0] == written[1]


def test_without_a_source_model_it_says_what_to_run(tmp_path):
    with pytest.raises(UserError, match="dvc repro"):
        stage.replace_head(Config(), Artifacts.under(tmp_path))


def paths(artifacts, name):
    folder = artifacts.stage_output(name)
    return folder / "model.safetensors", folder / "card.json"


def test_pictures_prepared_in_another_way_are_refused_before_any_training(artifacts, monkeypatch):
    monkeypatch.setattr(Target, "transform", replace(CARD.transform, size=8, resize=8))
    with pytest.raises(UserError, match=r"(?s)prepared in another way.*size=8"):
        stage.replace_head(Config(), artifacts)


def test_the_configured_head_is_attached_and_on_the_card(artifacts):
    variant = HeadVariant.mlp
    stage.replace_head(Config(model=Model(head=variant)), artifacts)
    target, card = load_model(*paths(artifacts, "replace_head"))
    assert card.head is variant
    assert head_parameters(target) == set(card.tensors["initialised"])
    assert len(head_parameters(target)) == 4
