"""Temperature and threshold come from pictures that the network was not trained on."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import write_toy_store
from tests_trainings import CPU as ON_CPU
from tests_trainings import recipe

from thawline.config.sections import Finetune
from thawline.models.answer import Answer
from thawline.models.head_cuts import read_cuts
from thawline.training.answering import answering_of, by_stored_features, from_others
from thawline.training.features.cache import PrefixCache
from thawline.training.run import Training

CPU = torch.device("cpu")


def probe(**fields) -> Finetune:
    return Finetune(depth="all", body_lr=None, head_lr=0.01, **fields)


def test_a_network_whose_body_learned_is_asked_about_validation_pictures(tmp_path: Path, build_small) -> None:
    store = write_toy_store(tmp_path, {"train": 10, "val": 12})
    answering, features = answering_of(build_small(1).eval(), Finetune(), store, 0.1, CPU)
    assert answering.basis == "Fitted on 24 validation pictures."
    assert features.shape == (20, 8)
    assert features.dtype == torch.float16
    unknown = answering.unknown
    assert unknown is not None
    assert (unknown.held_out, unknown.share) == (24, 0.1)
    scores = Answer(build_small(1), answering, features)(pictures_of(store.part("val")))[2]
    # the conformal quantile: of 24, the 23rd is the threshold
    assert int((scores > unknown.threshold + 1e-6).sum()) == 1


def pictures_of(store) -> torch.Tensor:
    from thawline.training.batches import batches

    return torch.cat([images for images, *_ in batches(store, 64)])


def test_a_solved_head_leaves_every_training_picture_out_once(tmp_path: Path, build_small) -> None:
    store = write_toy_store(tmp_path, {"train": 20, "val": 5})
    answering, _ = answering_of(build_small(1).eval(), probe(), store, 0.05, CPU)
    which = "10 validation pictures and 40 training pictures, each left out once"
    assert answering.basis == f"Fitted on {which}."
    assert answering.unknown is not None
    assert answering.unknown.held_out == 50


def test_where_nothing_is_held_out_the_temperature_stays_1_which_is_said(tmp_path: Path, build_small) -> None:
    store = write_toy_store(tmp_path, {"train": 10, "val": 5})
    answering, features = answering_of(build_small(1).eval(), Finetune(refit=True), store, 0.05, CPU)
    assert answering.temperature == 1
    assert "No picture was held out" in answering.basis
    assert len(features) == 30
    assert answering.unknown is not None
    assert "no promise" in answering.unknown.basis


def test_where_all_of_a_class_are_one_group_none_is_left_out(tmp_path: Path, build_small) -> None:
    store = write_toy_store(tmp_path, {"train": 20, "val": 5})
    store.manifest["group"] = store.manifest["label"]
    answering, _ = answering_of(build_small(1).eval(), probe(refit=True), store, 0.05, CPU)
    assert answering.temperature == 1
    assert "No picture was held out" in answering.basis


def test_of_a_body_that_learned_from_all_pictures_the_trial_that_chose_its_recipe_tells(
    tmp_path: Path, build_small
) -> None:
    store = write_toy_store(tmp_path, {"train": 10, "val": 5})
    labels = np.tile([0, 1], 20)
    # right in three of four cases, and surer than that
    said = np.where(np.arange(40) % 4 == 0, 1 - labels, labels)
    np.savez(tmp_path / "left_out.npz", logits=10.0 * np.eye(2)[said], labels=labels)
    answering, _ = answering_of(
        build_small(1).eval(), Finetune(refit=True), store, 0.05, CPU, searched=tmp_path / "left_out.npz"
    )
    assert (
        answering.basis
        == "Fitted on what the trial that chose the recipe said of 40 pictures left out of it."
    )
    assert answering.temperature > 5


def test_few_pictures_promise_no_small_share_and_say_so(tmp_path: Path, build_small) -> None:
    store = write_toy_store(tmp_path, {"train": 10, "val": 4})
    unknown = answering_of(build_small(1).eval(), Finetune(), store, 0.01, CPU)[0].unknown
    assert unknown is not None
    assert unknown.share == pytest.approx(1 / 9, abs=1e-6)
    assert "So few cannot promise 1.0%" in unknown.basis


def test_a_network_that_is_too_sure_gets_a_temperature_above_1(tmp_path: Path, build_small) -> None:
    network = build_small(1).eval()
    with torch.no_grad():
        network.head.weight.mul_(1000)
    store = write_toy_store(tmp_path, {"train": 4, "val": 12})
    assert answering_of(network, Finetune(), store, 0.1, CPU)[0].temperature > 2


def test_what_solving_stored_is_asked_in_place_of_the_pictures(
    tmp_path: Path, build_small, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, network = write_toy_store(tmp_path, {"train": 20, "val": 5}), build_small(1)
    network, settings = read_cuts(network, [1], seed=0), recipe(depth="all", body_lr=None, head_cuts=[1])
    cache = PrefixCache(tmp_path / "prefix", ON_CPU)
    training = Training(network, settings, store, ON_CPU, seed=0, mirror=False, cache=cache)
    training.run()
    expected, seen = answering_of(network, settings, store, 0.05, CPU)
    monkeypatch.setattr("thawline.training.features.prefix.computed", None)
    ask = by_stored_features(network, ON_CPU, cache, training.pictures.validation_batch)
    found, features = answering_of(network, settings, store, 0.05, CPU, ask=ask)
    assert found.temperature == pytest.approx(expected.temperature, rel=1e-3)
    assert found.basis == expected.basis
    assert torch.allclose(features, seen, atol=1e-3)


def test_where_few_lie_outside_a_group_its_pictures_are_as_far_as_the_last_of_these() -> None:
    angles = torch.tensor([0.0, 0.1, 0.2, 0.3, 1.0, 2.0])
    features = torch.stack([angles.cos(), angles.sin()], dim=1)
    found = from_others(features, np.array([0, 0, 0, 0, 1, 1]), neighbours=3)
    apart = [2.0 - 0.0, 2.0 - 0.1, 2.0 - 0.2, 2.0 - 0.3, 1.0 - 0.1, 2.0 - 0.1]
    assert found == pytest.approx(1 - np.cos(apart), abs=1e-6)
    # of one group alone nothing can be said
    assert from_others(features, np.zeros(6, int), neighbours=3) == pytest.approx(np.full(6, 2.0))
