"""Training by gradient descent: what changes, what stays, what is repeated bit for bit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests_trainings import CPU, Build, comparable, die_after, recipe, short_of_memory, train

from thawline.config.sections import AugmentationName, BatchNorm, ClassWeights, Keep, OptimizerName
from thawline.data.store import Store
from thawline.models.cuts import units
from thawline.models.freezing import state_hashes
from thawline.training import fit
from thawline.training.history import TrainingDivergedError
from thawline.training.soup import finetune_soup


@pytest.mark.parametrize("depth", range(4))
def test_exactly_the_unfrozen_tensors_change(depth: int, build_small: Build, toy_store: Store) -> None:
    network = build_small(0)
    assert len(units(network)) == 3
    frozen = {name for unit in units(network)[:depth] for name in (*unit.parameters, *unit.buffers)}
    before = state_hashes(network)
    train(network, toy_store, depth=depth, epochs=1, batch_norm=BatchNorm.train)
    after = state_hashes(network)
    assert {name for name in before if before[name] == after[name]} == frozen
    for name, parameter in network.named_parameters():
        assert (parameter.grad is None) or name not in frozen


def test_the_loss_goes_down_and_the_task_is_learned(build_small: Build, toy_store: Store) -> None:
    fitted = train(build_small(0), toy_store, epochs=12)
    losses = [row["train_loss"] for row in fitted.history]
    assert losses[-1] < 0.7 * losses[0]
    assert fitted.row["val_accuracy"] > 0.8


def test_equal_seeds_give_equal_bits_whatever_was_drawn_before_and_other_seeds_do_not(
    build_small: Build, toy_store: Store
) -> None:
    first, second, third = build_small(0), build_small(0), build_small(0)
    settings = {"epochs": 1, "augmentation": AugmentationName.trivial_augment}
    train(first, toy_store, **settings)
    torch.rand(17)
    np.random.default_rng().random()
    train(second, toy_store, **settings)
    train(third, toy_store, seed=1, **settings)
    assert state_hashes(first) == state_hashes(second) != state_hashes(third)


@pytest.mark.parametrize("optimizer", [OptimizerName.sgd, OptimizerName.lamb])
def test_a_killed_training_goes_on_as_if_nothing_had_happened(
    optimizer: OptimizerName, build_small: Build, toy_store: Store, tmp_path: Path
) -> None:
    undisturbed, again = build_small(0), build_small(0)
    settings = {"depth": 1, "optimizer": optimizer}
    expected = train(undisturbed, toy_store, **settings)
    where = tmp_path / "checkpoint"
    with pytest.raises(SystemError):
        train(build_small(0), toy_store, checkpoint=where, after=die_after(1), **settings)
    assert list(where.rglob("last.ckpt"))
    resumed = train(again, toy_store, checkpoint=where, **settings)
    assert state_hashes(again) == state_hashes(undisturbed)
    assert where.exists()  # until the caller has saved the result
    assert comparable(resumed) == comparable(expected)


def test_the_best_epoch_is_kept_if_asked_for(build_small: Build, toy_store: Store) -> None:
    fitted = train(build_small(0), toy_store, epochs=4, keep=Keep.best, head_lr=0.5, body_lr=0.1)
    assert fitted.row["val_accuracy"] == max(row["val_accuracy"] for row in fitted.history)


def test_early_stopping_ends_a_training_that_no_longer_improves(build_small: Build, toy_store: Store) -> None:
    fitted = train(build_small(0), toy_store, depth=2, epochs=40, early_stopping=1, head_lr=0.3)
    assert len(fitted.history) < 40


def test_a_diverged_training_says_so(build_small: Build, toy_store: Store) -> None:
    with pytest.raises(TrainingDivergedError, match="lower the learning rate"):
        train(build_small(0), toy_store, optimizer=OptimizerName.sgd, head_lr=1e30, body_lr=1e30)


@pytest.mark.parametrize("optimizer", [OptimizerName.sgd, OptimizerName.adamw])
def test_so_does_one_whose_last_step_alone_went_astray(
    optimizer: OptimizerName, build_small: Build, toy_store: Store
) -> None:
    settings = {"optimizer": optimizer, "head_lr": 1e30, "body_lr": 1e30, "epochs": 1}
    with pytest.raises(TrainingDivergedError, match="the validation loss became (nan|inf) in epoch 1"):
        train(build_small(0), toy_store, batch_size=len(toy_store.part("train").labels), warmup=0, **settings)


def test_a_training_leaves_nothing_in_memory_to_the_next(
    build_small: Build, toy_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, made = fit._trainer, list[Any]()
    monkeypatch.setattr(fit, "_trainer", lambda *given: made.append(trainer(*given)) or made[-1])
    network = build_small(0)
    train(network, toy_store, epochs=1, ema=0.5, keep=Keep.best)
    (trained,) = made
    assert all(parameter.grad is None for parameter in network.parameters())
    assert [len(optimizer.state) for optimizer in trained.optimizers] == [0]
    kept = trained.lightning_module
    assert (kept.best, kept.average, kept.objective) == (None, None, None)


def test_neither_does_one_that_was_interrupted(
    build_small: Build, toy_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, made = fit._trainer, list[Any]()
    monkeypatch.setattr(fit, "_trainer", lambda *given: made.append(trainer(*given)) or made[-1])
    with pytest.raises(SystemError):
        train(build_small(0), toy_store, ema=0.5, keep=Keep.best, after=die_after(1))
    (trained,) = made
    assert [len(optimizer.state) for optimizer in trained.optimizers] == [0]
    assert (trained.lightning_module.best, trained.lightning_module.average) == (None, None)


def test_balanced_classes_change_nothing(build_small: Build, toy_store: Store) -> None:
    plain, weighted = build_small(0), build_small(0)
    train(plain, toy_store, epochs=1)
    train(weighted, toy_store, epochs=1, class_weights=ClassWeights.balanced)
    assert state_hashes(plain) == state_hashes(weighted)


def test_every_training_of_a_soup_is_in_smaller_parts(
    build_small: Build, toy_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    short_of_memory(monkeypatch, 0)
    settings = recipe(batch_size=8, epochs=1, soup=2)
    fitted = finetune_soup(build_small(0), settings, toy_store, CPU, seed=0, mirror=False, accumulate=2)
    assert np.isfinite(fitted.history[0]["train_loss"])
