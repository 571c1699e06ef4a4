"""How saved models are asked about the test pictures."""

from pathlib import Path

import pytest
import torch
from conftest import TRANSFORM
from tests_networks import with_statistics

from thawline.artifacts import CARD, MODEL
from thawline.data.store import Store
from thawline.evaluation.asking import Asking
from thawline.models.answer import Answer, load_answer
from thawline.models.card import ModelCard
from thawline.models.checkpoint import build_random, save_model
from thawline.models.inference import answers
from thawline.training.batches import batches


def test_the_bundle_is_asked_without_batch_normalisation_and_answers_the_same(
    tmp_path: Path, toy_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = ModelCard("tests_networks.Small", {}, toy_store.classes, TRANSFORM, "toy")
    save_model(tmp_path / MODEL, tmp_path / CARD, with_statistics(build_random(card, seed=1)).eval(), card)
    normalised = []

    def asked(answer: Answer, *given: object) -> object:
        normalised.append(any(isinstance(layer, torch.nn.BatchNorm2d) for layer in answer.modules()))
        return answers(answer, *given)  # type: ignore[arg-type]

    monkeypatch.setattr("thawline.evaluation.asking.answers", asked)
    found, _, _ = Asking(toy_store, tmp_path / MODEL, 4, torch.device("cpu")).bundle(tmp_path)
    assert normalised == [False]
    expected = answers(load_answer(tmp_path)[0], batches(toy_store, 4))
    assert found.probabilities == pytest.approx(expected.probabilities, abs=1e-5)
