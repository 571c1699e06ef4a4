"""Where nothing but a linear head learns it is solved: exactly and at once."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from tests_networks import freeze
from tests_trainings import CPU, Build, recipe, train
from torch import nn

from thawline.config.choices import HeadVariant
from thawline.config.errors import UserError
from thawline.config.sections import AugmentationName, BatchNorm, ClassWeights, Mix, Phases
from thawline.data.store import Store
from thawline.models.cuts import units
from thawline.models.freezing import state_hashes
from thawline.models.head import replace_head
from thawline.models.head_cuts import read_cuts
from thawline.training.batches import batches
from thawline.training.cost import flops
from thawline.training.features.cache import PrefixCache
from thawline.training.history import Row
from thawline.training.loss import cross_entropy
from thawline.training.parameter_groups import balanced_weights
from thawline.training.run import Training
from thawline.training.solve.features import standardised

PROBE = {"depth": "all", "body_lr": None, "head_penalty": 2.0}


@pytest.fixture
def network(build_small: Build) -> nn.Module:
    return build_small(0)


def of_training_pictures(network: nn.Module, store: Store) -> tuple[torch.Tensor, torch.Tensor]:
    """Return pictures and labels."""
    images, labels, _ = next(iter(batches(store.part("train"), 16)))
    return images, labels


def test_the_head_is_what_scikit_learn_finds_on_the_features(network: nn.Module, toy_store: Store) -> None:
    images, labels = of_training_pictures(network, toy_store)
    features = freeze(network, len(units(network))).features(images).numpy()
    rows = standardised([features]).rows
    wanted = LogisticRegression(C=1 / 2.0, tol=1e-8).fit(rows, labels).predict_proba(rows)
    train(network, toy_store, **PROBE)
    with torch.no_grad():
        found = network.eval()(images).softmax(1).numpy()
    assert np.abs(found - wanted).max() < 1e-4


def test_nothing_but_the_head_changes_and_it_counts_as_one_epoch(
    network: nn.Module, toy_store: Store
) -> None:
    before, rows = state_hashes(network), list[Row]()
    fitted = train(network, toy_store, after=rows.append, **PROBE, epochs=30)
    after = state_hashes(network)
    assert {name for name in before if before[name] != after[name]} == {"head.weight", "head.bias"}
    assert rows == fitted.history
    assert [row["epoch"] for row in rows] == [0]
    assert fitted.cost["training_flops"] == 16 * flops(network, (3, 16, 16)).forward


def test_the_loss_is_weighted_and_smoothed_as_that_of_a_training(
    network: nn.Module, toy_store: Store
) -> None:
    few = toy_store.divided(np.arange(11), np.arange(16, 32))  # six pictures of one class, five of the other
    changes = {"class_weights": ClassWeights.balanced, "label_smoothing": 0.2}
    fitted = train(network, few, **PROBE, **changes)
    images, labels = of_training_pictures(network, few)
    with torch.no_grad():
        weights = balanced_weights(labels.numpy(), 2)
        loss = cross_entropy(network.eval()(images), labels, weights, label_smoothing=0.2)
    assert fitted.row["train_loss"] == pytest.approx(float(loss), abs=1e-5)


def test_a_head_is_solved_over_pictures_and_their_mirror_images(
    build_small: Build, toy_store: Store, tmp_path: Path
) -> None:
    cache, settings = PrefixCache(tmp_path, CPU), recipe(**PROBE, augmentation=AugmentationName.mirror)
    heads = []
    for seed, mirror in ((0, True), (1, True), (0, False)):
        network = build_small(0)
        Training(network, settings, toy_store, CPU, seed=seed, mirror=mirror, cache=cache).run()
        heads.append(network.get_parameter("head.weight").detach().numpy())
    assert heads[0] == pytest.approx(heads[1], abs=1e-4)
    plain = build_small(0)
    train(plain, toy_store, **PROBE)
    assert heads[2] == pytest.approx(plain.get_parameter("head.weight").detach().numpy(), abs=1e-5)
    assert np.abs(heads[0] - heads[2]).max() > 1e-3
    # of all seeds and folds, the pictures as they are and mirrored
    assert len(list(tmp_path.rglob("features.npy"))) == 2


def test_a_head_is_solved_over_stored_views_and_a_cache_changes_nothing(
    build_small: Build, toy_store: Store, tmp_path: Path
) -> None:
    settings = recipe(**PROBE, augmentation=AugmentationName.standard, views=3)
    heads, counts = [], []
    for cache in (None, PrefixCache(tmp_path, CPU)):
        network = build_small(0)
        training = Training(network, settings, toy_store, CPU, seed=0, mirror=False, cache=cache)
        counts.append(training.run().cost["training_flops"])
        heads.append(network.get_parameter("head.weight").detach().numpy())
    plain = build_small(0)
    train(plain, toy_store, **PROBE)
    assert heads[0] == pytest.approx(heads[1], abs=1e-5)
    assert np.abs(heads[0] - plain.get_parameter("head.weight").detach().numpy()).max() > 1e-3
    assert counts == [3 * 16 * flops(plain, (3, 16, 16)).forward] * 2


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({"augmentation": AugmentationName.standard}, "augmentation = standard(?s:.*)finetune.views=8"),
        ({"mix": Mix.mixup}, "mix = mixup(?s:.*)finetune.mix=none"),
    ],
)
def test_pictures_that_are_new_in_every_epoch_are_refused_by_name(
    changes: dict, advice: str, network: nn.Module, toy_store: Store
) -> None:
    with pytest.raises(UserError, match=advice):
        train(network, toy_store, **PROBE, **changes)


def test_fine_tuning_after_a_probe_begins_with_the_solved_head_at_its_scale(
    build_small: Build, toy_store: Store
) -> None:
    probe, network, scale = build_small(0), build_small(0), 0.25
    train(probe, toy_store, **PROBE)
    lp_ft = {"phases": Phases.probe_first, "body_lr": 1e-9, "head_penalty": 2.0, "head_scale": scale}
    # the head is solved on plain pictures all the same
    changes = {"augmentation": AugmentationName.standard, "weight_decay": 0.0}
    fitted = train(network, toy_store, **lp_ft, **changes, epochs=2)
    assert len(fitted.history) == 2
    for name in ("head.weight", "head.bias"):
        wanted = scale * probe.get_parameter(name)
        assert torch.allclose(network.get_parameter(name), wanted, atol=1e-5)


def test_a_head_with_a_hidden_layer_is_trained(network: nn.Module, toy_store: Store) -> None:
    network, _ = replace_head(network, 2, 0, HeadVariant.mlp)
    assert len(train(network, toy_store, **PROBE, epochs=3).history) == 3
    lp_ft = train(network, toy_store, phases=Phases.probe_first, phase_share=0.5, epochs=4)
    assert len(lp_ft.history) == 4


def test_a_head_on_features_that_move_is_trained(network: nn.Module, toy_store: Store) -> None:
    moving = {"frozen_batch_norm": BatchNorm.statistics}
    assert len(train(network, toy_store, **PROBE, **moving, epochs=2).history) == 2


@pytest.mark.parametrize(("name", "value"), [("soup", 3), ("ema", 0.9)])
def test_averages_of_a_training_are_refused(
    name: str, value: float, network: nn.Module, toy_store: Store
) -> None:
    with pytest.raises(UserError, match=rf"finetune\.{name} = {value}(?s:.*)set finetune\.{name}="):
        train(network, toy_store, **PROBE, **{name: value})


def test_features_that_are_no_numbers_are_said(network: nn.Module, toy_store: Store) -> None:
    with torch.no_grad():
        next(network.parameters()).fill_(torch.nan)
    with pytest.raises(UserError, match="weights are damaged"):
        train(network, toy_store, **PROBE)


def test_a_head_on_several_cuts_is_what_scikit_learn_finds_on_them_together(
    network: nn.Module, toy_store: Store
) -> None:
    images, labels = of_training_pictures(network, toy_store)
    first, last = (freeze(network, depth).features(images).numpy() for depth in (1, len(units(network))))
    rows = standardised([first.mean((2, 3)), last]).rows
    wanted = LogisticRegression(C=1 / 2.0, tol=1e-8, max_iter=1000).fit(rows, labels).predict_proba(rows)
    several = read_cuts(network, [1], seed=0)
    fitted = train(several, toy_store, **PROBE, head_cuts=[1])
    with torch.no_grad():
        found = several.eval()(images).softmax(1).numpy()
    assert np.abs(found - wanted).max() < 1e-3
    # the validation pictures were asked in the same standardised terms
    val = next(iter(batches(toy_store.part("val"), 64)))
    with torch.no_grad():
        share = float((several(val[0]).argmax(1) == val[1]).float().mean())
    assert fitted.row["val_accuracy"] == pytest.approx(share)


def test_fine_tuning_from_a_head_on_several_cuts_starts_at_its_loss_and_keeps_its_standardisation(
    network: nn.Module, toy_store: Store
) -> None:
    several, probe = (read_cuts(copy.deepcopy(network), [1], seed=0) for _ in range(2))
    solved = train(probe, toy_store, **PROBE, head_cuts=[1])
    tiny = {"phases": Phases.probe_first, "depth": 1, "epochs": 2, "body_lr": 1e-9, "head_penalty": 2.0}
    fitted = train(several, toy_store, **tiny, head_cuts=[1], batch_norm=BatchNorm.frozen)
    assert fitted.history[0]["val_loss"] == pytest.approx(solved.row["val_loss"], abs=1e-4)
    hashes = state_hashes(several), state_hashes(probe)
    assert [each["head_cuts.together.mean"] for each in hashes] == [hashes[0]["head_cuts.together.mean"]] * 2
    assert hashes[0]["head_cuts.together.scale"] != state_hashes(network).get("head_cuts.together.scale")
