"""The program that is given away answers what the bundle's own module does, whatever that is told."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from conftest import TRANSFORM, toy_pictures
from torch.nn import functional

from thawline.data.batches import as_pixels, normalised
from thawline.models.answer import Answer
from thawline.models.answering import Answering, Unknown
from thawline.models.card import ModelCard
from thawline.models.checkpoint import build_random
from thawline.serving.formats import program as program_module
from thawline.serving.formats.program import INPUT, about, as_program, write_onnx

UNKNOWN = Unknown(2, 0.25, 0.01, 100, "Toy.")
CARD = ModelCard("tests_networks.Small", {}, ("across", "down"), TRANSFORM, "toy")
ALL = Answering(2.5, "Toy.", UNKNOWN, ((0.0, 1.0), (9.0, 0.0)))


def test_probabilities_decision_and_unknown_score_are_the_answers() -> None:
    features = functional.normalize(torch.rand(6, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    answer = Answer(build_random(CARD, seed=1), ALL, features)
    program = as_program(answer, TRANSFORM).module()
    for pictures in (1, 2, 5):
        images = np.ascontiguousarray(toy_pictures(3, 0)[0][:pictures])
        found = program(torch.from_numpy(images))
        expected = answer(normalised(as_pixels(images), TRANSFORM))
        for one, other in zip(found, expected, strict=True):
            assert torch.allclose(one.double(), other.double(), atol=1e-6)
        assert found[2].abs().max() > 1e-3


@pytest.mark.parametrize(("answering", "above"), [(None, None), (ALL, 0.25)])
def test_it_says_above_which_score_a_picture_is_unknown(answering, above: float | None) -> None:
    said = about(replace(CARD, answering=answering))
    assert json.loads(said["unknown_above"]) == above
    assert json.loads(said["labels"]) == ["across", "down"]


def test_weights_that_no_onnx_file_can_hold_lie_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = as_program(Answer(build_random(CARD, seed=1)), TRANSFORM)
    images = np.ascontiguousarray(toy_pictures(3, 0)[0])
    answers = []
    for name, largest in (("one", program_module.LARGEST), ("two", 100)):
        monkeypatch.setattr(program_module, "LARGEST", largest)
        write_onnx(tmp_path / name / "model.onnx", program, CARD)
        # whoever takes the folder elsewhere has all of it
        folder = (tmp_path / name).rename(tmp_path / f"moved_{name}")
        session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
        answers.append(session.run(None, {INPUT: images})[0])
    assert sorted(path.name for path in (tmp_path / "moved_one").iterdir()) == ["model.onnx"]
    assert sorted(path.name for path in (tmp_path / "moved_two").iterdir()) == [
        "model.onnx",
        "model.onnx.data",
    ]
    assert np.array_equal(*answers)
