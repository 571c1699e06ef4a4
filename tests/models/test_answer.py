"""What a network's logits become: probabilities, a decision and how unlike the training pictures it is."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import TRANSFORM
from tests_networks import with_statistics

from thawline.artifacts import CARD, FEATURES, MODEL
from thawline.config.errors import UserError
from thawline.models.answer import Answer, as_rows, load_answer, save_answering, scores
from thawline.models.answering import Answering, Unknown
from thawline.models.card import ModelCard
from thawline.models.checkpoint import build_random, save_model
from thawline.models.cuts import units
from thawline.models.head_cuts import read_cuts
from thawline.models.layout import layout_of

SMALL = ModelCard("tests_networks.Small", {}, ("across", "down"), TRANSFORM, "toy")
UNKNOWN = Unknown(neighbours=2, threshold=0.1, share=0.01, held_out=99, basis="Of 99 pictures.")


@pytest.fixture
def network() -> torch.nn.Module:
    return build_random(SMALL, seed=1).eval()


@pytest.fixture
def pictures() -> torch.Tensor:
    return torch.randn(7, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def features(network, pictures) -> torch.Tensor:
    return as_rows(Answer(network).prefix(pictures)).detach().half()


def test_without_settings_it_says_what_the_network_says(network, pictures) -> None:
    found, decision, unknown = Answer(network)(pictures)
    assert torch.equal(found, network(pictures).softmax(1))
    assert torch.equal(decision, network(pictures).argmax(1))
    assert not unknown.any()


def test_folded_it_answers_the_same_and_lets_the_network_go(pictures) -> None:
    card = replace(SMALL, architecture="mobilenet_v3_small")
    network = with_statistics(build_random(card, seed=1)).eval()
    # a head on several cuts reads what crosses them in between
    network = read_cuts(network, [3, 6, len(units(network))], seed=1).eval()
    plain, answer = Answer(network), Answer(network)
    answer.fold()
    assert not any(isinstance(layer, torch.nn.BatchNorm2d) for layer in answer.prefix.modules())
    for one, other in zip(answer(pictures), plain(pictures), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    assert answer.layout is layout_of(network)
    with pytest.raises(RuntimeError, match="let go"):
        _ = answer.network


def test_the_temperature_divides_the_logits(network, pictures) -> None:
    found, *_ = Answer(network, Answering(temperature=2.5))(pictures)
    torch.testing.assert_close(found, (network(pictures) / 2.5).softmax(1))


def test_the_decision_is_what_is_expected_to_cost_least(network, pictures) -> None:
    probabilities, likeliest, _ = Answer(network)(pictures)
    # to call "down" what is "across" is ruinous, the other mistake cheap
    unchanged, decision, _ = Answer(network, Answering(costs=((0, 1000), (1, 0))))(pictures)
    assert torch.equal(unchanged, probabilities)
    assert decision.tolist() == [0] * 7
    even = Answer(network, Answering(costs=((0, 1), (1, 0))))
    assert torch.equal(even(pictures)[1], likeliest)


def test_a_training_picture_is_known_and_something_else_is_further_away(network, pictures, features) -> None:
    answer = Answer(network, Answering(unknown=replace(UNKNOWN, neighbours=1)), features)
    assert answer.threshold == 0.1
    other = 50 * torch.randn(7, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    known, strange = answer(pictures)[2], answer(other)[2]
    assert known.abs().max() < 1e-3
    assert strange.min() > known.max()


def test_scores_are_cosine_distances_to_the_neighbour_that_counts() -> None:
    rows = as_rows(torch.tensor([[2.0, 0.0]]))
    reference = as_rows(torch.tensor([[1.0, 0.0], [1.0, 1.0], [-1.0, 0.0]]))
    found = [float(scores(rows, reference, neighbours)) for neighbours in (1, 2, 3)]
    assert found == pytest.approx([0, 1 - 0.5**0.5, 2], abs=1e-6)


def test_maps_and_tokens_are_pooled_to_one_row() -> None:
    assert as_rows(torch.randn(2, 5, 3, 3)).shape == (2, 5)
    assert as_rows(torch.randn(2, 9, 5)).shape == (2, 5)


def test_a_bundle_gives_the_same_answers(network, pictures, features, tmp_path: Path) -> None:
    answering = Answering(1.5, "On 9 pictures.", UNKNOWN, ((0.0, 2.0), (1.0, 0.0)))
    card = save_model(tmp_path / MODEL, tmp_path / CARD, network, SMALL)
    written = save_answering(tmp_path, card, answering, features)
    opened, read = load_answer(tmp_path)
    assert read == written
    for ours, theirs in zip(Answer(network, answering, features)(pictures), opened(pictures), strict=True):
        assert torch.equal(ours, theirs)


def test_features_of_another_bundle_are_refused(network, features, tmp_path: Path) -> None:
    card = save_model(tmp_path / MODEL, tmp_path / CARD, network, SMALL)
    save_answering(tmp_path, card, Answering(unknown=UNKNOWN), features)
    (tmp_path / FEATURES).write_bytes(b"")
    with pytest.raises(UserError, match=r"features\.safetensors is not the file that .* describes"):
        load_answer(tmp_path)
    (tmp_path / FEATURES).unlink()
    with pytest.raises(UserError, match=r"features\.safetensors does not exist"):
        load_answer(tmp_path)


def test_a_bundle_of_an_older_version_is_read(network, pictures, tmp_path: Path) -> None:
    save_model(tmp_path / MODEL, tmp_path / CARD, network, SMALL)
    assert "answering" not in json.loads((tmp_path / CARD).read_text())
    answer, card = load_answer(tmp_path)
    assert card.answering is None
    assert answer.threshold is None
    assert torch.equal(answer(pictures)[0], network(pictures).softmax(1))


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_is_above_0(temperature: float) -> None:
    with pytest.raises(ValueError, match="is not above 0"):
        Answering(temperature)
