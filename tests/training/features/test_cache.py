"""Trainings that read what the frozen prefix made of the pictures are those that compute it."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import write_toy_store
from tests_networks import freeze
from tests_trainings import CPU, PROBE, Build, comparable, die_after, recipe
from torch import nn

from thawline.artifacts import file_hash, read_json, write_json
from thawline.config.sections import AugmentationName, BatchNorm, Mix, Trainer
from thawline.data.store import Store
from thawline.models.freezing import PartlyFrozen, state_hashes
from thawline.training.batches import Pictures, batches
from thawline.training.features import prefix
from thawline.training.features.cache import PrefixCache
from thawline.training.history import Fitted, TrainingDivergedError
from thawline.training.soup import finetune_soup

NEVER = replace(CPU, prefix_cache=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "prefix"


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pictures each call of a prefix was given, or of what is made of it to fill the store."""
    seen: list[int] = []
    features, filling = PartlyFrozen.features, prefix.computed

    def counted(self: PartlyFrozen, pictures: torch.Tensor) -> torch.Tensor:
        seen.append(len(pictures))
        return features(self, pictures)

    def filled(side: nn.Module, given: torch.Tensor, *more: Any) -> torch.Tensor:
        seen.append(len(given))
        return filling(side, given, *more)

    monkeypatch.setattr(PartlyFrozen, "features", counted)
    monkeypatch.setattr(prefix, "computed", filled)
    return seen


def stored(folder: Path) -> int:
    return len(list(folder.glob("*/card.json")))


def train(
    network: nn.Module, store: Store, settings: Trainer, folder: Path, seed: int = 3, **changes: object
) -> Fitted:
    more = {name: changes.pop(name) for name in ("after_epoch", "checkpoint") if name in changes}
    cache, epochs = PrefixCache(folder, settings), 2 if "views" in changes else 1
    chosen = recipe(**{"epochs": epochs} | changes)
    return finetune_soup(network, chosen, store, settings, seed=seed, mirror=True, cache=cache, **more)


@pytest.mark.parametrize(
    "changes",
    [
        {"depth": "all"},
        {"depth": 2, "augmentation": AugmentationName.trivial_augment, "views": 3},
        {"depth": 1, "wise_ft": 0.5, "early_stopping": 2},
        # what follows the probe would magnify differences in the last bits
        {**PROBE, "body_lr": 1e-4},
    ],
    ids=str,
)
def test_losses_and_weights_are_those_of_a_training_without(
    changes: dict, build_small: Build, toy_store: Store, folder: Path
) -> None:
    one, other = build_small(0), build_small(0)
    computed = train(one, toy_store, NEVER, folder, **changes)
    assert stored(folder) == 0
    read = train(other, toy_store, CPU, folder, **changes)
    assert stored(folder) > 0
    for before, after in zip(computed.history, read.history, strict=True):
        for name in ("train_loss", "val_loss", "val_accuracy"):
            assert after[name] == pytest.approx(before[name], abs=1e-5, nan_ok=True)
    for name, tensor in one.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], tensor, rtol=0, atol=1e-3)
    assert read.cost["training_flops"] == computed.cost["training_flops"]


@pytest.fixture
def start(build_small: Build) -> dict[str, torch.Tensor]:
    return build_small(0).state_dict()


def test_the_prefix_is_computed_once_for_all_epochs_recipes_and_seeds(
    build_small: Build, toy_store: Store, folder: Path, computed: list[int]
) -> None:
    train(build_small(0), toy_store, CPU, folder, depth=2, epochs=3)
    assert stored(folder) == 1
    counted = sum(computed)
    assert len(toy_store) <= counted < 2 * len(toy_store)
    train(build_small(0), toy_store, NEVER, folder, depth=2, epochs=3)
    assert sum(computed) - counted >= 3 * len(toy_store)
    computed.clear()
    train(build_small(0), toy_store, CPU, folder, depth=2, epochs=4, head_lr=1e-3, seed=9)
    assert stored(folder) == 1
    # what the training costs is counted on some, and what is stored compared with two
    assert sum(computed) < len(toy_store)


def test_folds_and_splits_share_what_is_stored(build_small: Build, toy_store: Store, folder: Path) -> None:
    rows = np.arange(len(toy_store))
    divided = toy_store.divided(rows[::2], rows[1::2])
    one, other = build_small(0), build_small(0)
    train(build_small(0), toy_store, CPU, folder, depth=2)
    read = train(one, divided, CPU, folder, depth=2)
    assert stored(folder) == 1
    without = train(other, divided, NEVER, folder, depth=2)
    assert read.row["train_loss"] == pytest.approx(without.row["train_loss"], abs=1e-5)


def test_other_weights_pictures_or_variants_are_other_entries(
    build_small: Build, toy_store: Store, folder: Path, tmp_path: Path
) -> None:
    train(build_small(0), toy_store, CPU, folder, depth=1)
    train(build_small(1), toy_store, CPU, folder, depth=1)
    assert stored(folder) == 2
    other = write_toy_store(tmp_path / "other", {"train": 8, "val": 8}, seed=7)
    train(build_small(0), other, CPU, folder, depth=1)
    assert stored(folder) == 3
    train(build_small(0), toy_store, CPU, folder, depth=1, augmentation=AugmentationName.standard, views=2)
    assert stored(folder) == 3 + 2 + 1  # two variants to learn from, and the others as they are


def test_a_deeper_prefix_is_computed_from_a_shallower_one(
    build_small: Build,
    toy_store: Store,
    folder: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    picture = next(iter(batches(toy_store, 1)))[0]
    monkeypatch.setattr("thawline.models.layout.IN_CACHE", 5 * picture.numel())
    caplog.set_level(logging.INFO)
    alone = train(build_small(0), toy_store, CPU, folder / "alone", depth=3)
    train(build_small(0), toy_store, CPU, folder, depth=1)
    caplog.clear()
    deeper = train(build_small(0), toy_store, CPU, folder, depth=3)
    assert "from what 1 units make of them" in caplog.text
    assert comparable(deeper) == comparable(alone)


@pytest.mark.parametrize(
    "changes",
    [
        {"depth": 0},
        {"depth": 2, "mix": Mix.mixup},
        {"depth": 2, "augmentation": AugmentationName.standard},
    ],
    ids=str,
)
def test_what_differs_in_every_epoch_is_never_stored(
    changes: dict, build_small: Build, toy_store: Store, folder: Path
) -> None:
    train(build_small(0), toy_store, CPU, folder, **changes)
    assert stored(folder) == 0


def test_the_frozen_part_keeps_its_bits(build_small: Build, toy_store: Store, folder: Path) -> None:
    network = build_small(0)
    before = state_hashes(network)
    train(network, toy_store, CPU, folder, depth=2)
    after = state_hashes(network)
    changed = {name for name in before if before[name] != after[name]}
    assert changed
    assert not changed & set(freeze(network, 2).prefix.state_dict())


def test_an_interrupted_training_goes_on_bit_for_bit(
    build_small: Build, toy_store: Store, folder: Path, tmp_path: Path
) -> None:
    settings = {"depth": 2, "epochs": 2}
    whole = build_small(0)
    fitted = train(whole, toy_store, CPU, folder, **settings)
    killed = {"checkpoint": tmp_path / "work", "after_epoch": [die_after(1)]}
    with pytest.raises(SystemError):
        train(build_small(0), toy_store, CPU, folder, **settings, **killed)
    assert list((tmp_path / "work").rglob("last.ckpt"))
    resumed = build_small(0)
    again = train(resumed, toy_store, CPU, folder, **settings, checkpoint=tmp_path / "work")
    assert comparable(again) == comparable(fitted)
    assert state_hashes(resumed) == state_hashes(whole)


def test_a_network_that_computes_otherwise_than_its_weights_say_is_found_out(
    build_small: Build, toy_store: Store, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Code may change where no hash sees it."""
    train(build_small(0), toy_store, CPU, folder, depth=2)
    (path,) = folder.glob("*/features.npy")
    features = np.load(path)
    np.save(path, features + 5)
    card = path.with_name("card.json")
    write_json(card, {**read_json(card), "sha256": file_hash(path)})
    train(build_small(0), toy_store, CPU, folder, depth=2)
    assert "are not what it computes" in caplog.text
    assert np.array_equal(np.load(path), features)


def test_without_room_the_pictures_are_computed_as_ever(
    build_small: Build, toy_store: Store, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    train(build_small(0), toy_store, replace(CPU, prefix_cache_gib=1e-6), folder, depth=2)
    assert "trainer.prefix_cache_gib allows" in caplog.text
    assert stored(folder) == 0


def test_variants_that_do_not_fit_together_are_not_stored(
    build_small: Build, toy_store: Store, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One would make room for the next, and none be left for the epoch after."""
    caplog.set_level(logging.INFO)
    views = {"depth": 1, "augmentation": AugmentationName.standard, "views": 3}
    train(build_small(0), toy_store, CPU, folder, **views)
    size = max(path.stat().st_size for path in folder.glob("*/features.npy"))
    for entries, gib in ((4, 4.1 * size / 2**30), (0, 3.9 * size / 2**30)):
        other = folder / str(entries)
        train(build_small(0), toy_store, replace(CPU, prefix_cache_gib=gib), other, **views)
        assert stored(other) == entries
    assert "trainer.prefix_cache_gib allows" in caplog.text


def test_a_disk_that_cannot_be_written_ends_no_training(
    build_small: Build, toy_store: Store, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    folder.write_text("a file where the folder should be")
    one, other = build_small(0), build_small(0)
    without = train(one, toy_store, NEVER, tmp_path, depth=2)
    assert comparable(train(other, toy_store, CPU, folder, depth=2)) == comparable(without)
    assert str(folder) in caplog.text


class Mixing(nn.Module):
    """Normalises by the batch in evaluation mode, too."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, stride=4)
        self.norm = nn.BatchNorm2d(4, track_running_stats=False)
        self.last = nn.Conv2d(4, 4, 3)
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.last(self.norm(self.first(x))).mean((2, 3)))


def test_what_depends_on_the_pictures_beside_it_is_not_stored(
    toy_store: Store, folder: Path, caplog: pytest.LogCaptureFixture, computed: list[int]
) -> None:
    caplog.set_level(logging.INFO)
    torch.manual_seed(0)
    network = Mixing()
    twin = Mixing()
    twin.load_state_dict(network.state_dict())
    changes = {"depth": 1, "frozen_batch_norm": BatchNorm.frozen}
    read = train(network, toy_store, CPU, folder, **changes)
    assert "depends on the pictures beside it" in caplog.text
    assert comparable(read) == comparable(train(twin, toy_store, NEVER, folder, **changes))


def test_pictures_that_only_validate_are_all_that_is_stored_of_them(
    build_small: Build, toy_store: Store, folder: Path
) -> None:
    """Where those that are learned from are augmented, nobody reads them as they are."""
    train(build_small(0), toy_store, CPU, folder, depth=1, augmentation=AugmentationName.standard, views=2)
    counts = sorted(len(np.load(path, mmap_mode="r")) for path in folder.glob("*/features.npy"))
    assert counts == [16, 16, 16]


def test_batches_hold_features_with_the_labels_of_their_pictures(
    build_small: Build, toy_store: Store, folder: Path
) -> None:
    held, part = freeze(build_small(0), 2), toy_store.part("train")
    pictures = Pictures(toy_store, recipe(), seed=0, mirror=False, accumulate=1)
    fed = PrefixCache(folder, CPU).feature_batches(held, pictures, torch.device("cpu"))
    assert fed is not None
    inputs, labels, indices = next(iter(fed[0]))
    plain, _, _ = next(iter(batches(part, len(part))))
    torch.testing.assert_close(inputs, held.features(plain[indices]))
    assert torch.equal(labels, torch.from_numpy(part.labels[indices]))


def test_features_that_are_no_numbers_are_not_stored_and_the_training_says_that_it_diverged(
    build_small: Build, toy_store: Store, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    network = build_small(0)
    nn.init.constant_(network.stem[0].weight, 1e38)
    with caplog.at_level(logging.INFO), pytest.raises(TrainingDivergedError, match="became nan"):
        train(network, toy_store, CPU, folder, depth=2)
    assert "what it makes of a picture is not a number, and is not stored" in caplog.text
