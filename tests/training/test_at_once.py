"""Several trainings as one batch of models: each comes to what it comes to alone."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
import torch
from tests_networks import Small
from tests_trainings import CPU, Build, recipe
from torch import nn

from thawline.config.sections import (
    AugmentationName,
    BatchNorm,
    ClassWeights,
    Keep,
    Mix,
    OptimizerName,
    Phases,
    Precision,
    PrefixCacheUse,
    ScheduleName,
    Trainer,
)
from thawline.data.store import Store
from thawline.models.freezing import state_hashes
from thawline.models.randomness import own_randomness
from thawline.models.zoo import build
from thawline.training.at_once import AtOnce, Member, train_at_once
from thawline.training.classifier import TrainingDivergedError
from thawline.training.fit import Fitted
from thawline.training.learning import learning_groups
from thawline.training.once import Training, finetune_once
from thawline.training.optimization import Group, build_optimizer
from thawline.training.prefix.cache import PrefixCache

ALWAYS = replace(CPU, prefix_cache=PrefixCacheUse.always)
RATES = ((1e-2, 5e-2), (1e-3, 1e-1), (3e-3, 2e-3))

Tensors = dict[str, torch.Tensor]


def members(build: Build, seeds: Sequence[int] = (5, 5, 5), **changes: object) -> list[Member]:
    """Different rates; heads (and here all other weights too, which are frozen or not compared) by seed."""
    body = build(0).state_dict()
    found = []
    for (body_lr, head_lr), seed in zip(RATES, seeds, strict=True):
        head = {name: each for name, each in build(seed).state_dict().items() if name.startswith("head")}
        settings = recipe(**{"depth": "all", "body_lr": body_lr, "head_lr": head_lr, **changes})
        found.append(Member(settings, seed, {**body, **head}))
    return found


def network_of(build: Build, member: Member) -> nn.Module:
    network = build(0)
    network.load_state_dict(dict(member.start))
    return network


def at_once(
    build: Build, all_of_them: Sequence[Member], store: Store, folder: Path, settings: Trainer = ALWAYS
) -> AtOnce | str:
    first = all_of_them[0]
    training = Training(
        network_of(build, first),
        first.recipe,
        store,
        settings,
        seed=first.seed,
        mirror=False,
        cache=PrefixCache(folder, settings),
    )
    return train_at_once(training, all_of_them)


def alone(build: Build, member: Member, store: Store, folder: Path) -> tuple[Fitted, Tensors]:
    network = network_of(build, member)
    cache = PrefixCache(folder, ALWAYS)
    fitted = finetune_once(network, member.recipe, store, ALWAYS, seed=member.seed, mirror=False, cache=cache)
    return fitted, network.state_dict()


def without_dropout(seed: int) -> nn.Module:
    return build("tests_networks.Small", 2, seed=seed, dropout=0.0)


SAME_SEED, OWN_SEEDS = (5, 5, 5), (5, 6, 7)


CHANGES: tuple[dict[str, object], ...] = (
    {},
    {"depth": 1},
    {"depth": 1, "layer_decay": 0.5, "optimizer": OptimizerName.sgd},
    {"depth": 1, "batch_norm": BatchNorm.frozen, "schedule": ScheduleName.one_cycle},
    {"depth": 0, "units": ["blocks.1"]},
    {"class_weights": ClassWeights.balanced, "label_smoothing": 0.1, "batch_size": 5},
    {"keep": Keep.best, "epochs": 4},
)
VIEWS: dict[str, object] = {"augmentation": AugmentationName.standard, "views": 2}


@pytest.mark.parametrize(
    ("seeds", "changes"),
    # each seed augments in its own way
    [*product((SAME_SEED, OWN_SEEDS), CHANGES), (SAME_SEED, VIEWS)],
)
def test_each_comes_to_what_it_comes_to_alone(
    build_small: Build, toy_store: Store, tmp_path: Path, seeds: tuple[int, ...], changes: dict[str, object]
) -> None:
    made = build_small if seeds == SAME_SEED else without_dropout
    wanted = members(made, seeds, **changes)
    together = at_once(made, wanted, toy_store, tmp_path)
    assert isinstance(together, AtOnce), together
    for index, member in enumerate(wanted):
        fitted, tensors = alone(made, member, toy_store, tmp_path)
        mine = together.take(index)
        assert mine.epoch == fitted.epoch
        for ours, theirs in zip(mine.history, fitted.history, strict=True):
            assert {**ours, "seconds": 0} == pytest.approx({**theirs, "seconds": 0}, abs=1e-5)
        for name, tensor in together.training.network.state_dict().items():
            torch.testing.assert_close(tensor, tensors[name], rtol=1e-4, atol=1e-5)
        assert mine.cost.keys() == fitted.cost.keys()
        assert mine.cost["training_flops"] == fitted.cost["training_flops"]


def test_twice_gives_the_same_bits(toy_store: Store, tmp_path: Path) -> None:
    hashes = []
    for _ in range(2):
        wanted = members(without_dropout, OWN_SEEDS, depth=1)
        together = at_once(without_dropout, wanted, toy_store, tmp_path)
        assert isinstance(together, AtOnce)
        together.take(2)
        hashes.append(state_hashes(together.training.network))
    assert hashes[0] == hashes[1]


def test_the_frozen_part_stays_as_it_was(build_small: Build, toy_store: Store, tmp_path: Path) -> None:
    before = state_hashes(build_small(0))
    together = at_once(build_small, members(build_small), toy_store, tmp_path)
    assert isinstance(together, AtOnce)
    together.take(1)
    after = state_hashes(together.training.network)
    assert {name for name in before if before[name] != after[name]} == {"head.weight", "head.bias"}


def test_one_that_diverges_leaves_the_others_alone(
    build_small: Build, toy_store: Store, tmp_path: Path
) -> None:
    one, two, three = members(build_small, optimizer=OptimizerName.sgd, weight_decay=0.0)
    wild = replace(two, recipe=replace(two.recipe, head_lr=1e38))
    together = at_once(build_small, [one, wild, three], toy_store, tmp_path)
    assert isinstance(together, AtOnce)
    with pytest.raises(TrainingDivergedError, match="the training loss became"):
        together.take(1)
    fitted, _ = alone(build_small, three, toy_store, tmp_path)
    assert together.take(2).row["val_loss"] == pytest.approx(fitted.row["val_loss"], abs=1e-5)


def test_half_precision(build_small: Build, toy_store: Store, tmp_path: Path) -> None:
    settings = replace(ALWAYS, precision=Precision.bfloat16)
    together = at_once(build_small, members(build_small, depth=1), toy_store, tmp_path, settings)
    assert isinstance(together, AtOnce)
    exact = at_once(build_small, members(build_small, depth=1), toy_store, tmp_path)
    assert isinstance(exact, AtOnce)
    assert together.take(0).row["train_loss"] == pytest.approx(exact.take(0).row["train_loss"], abs=0.05)
    assert together.take(0).row["train_loss"] != exact.take(0).row["train_loss"]


def test_one_step_of_the_optimizer_serves_models_of_equal_rates(
    toy_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []

    def counting(groups: Sequence[Group], *rest: object) -> torch.optim.Optimizer:
        counts.append(len(groups))
        return build_optimizer(groups, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr("thawline.training.at_once.build_optimizer", counting)
    rates = {"body_lr": 1e-2, "head_lr": 5e-2}
    wanted = members(without_dropout, OWN_SEEDS, depth=1, **rates)
    together = at_once(without_dropout, wanted, toy_store, tmp_path)
    assert isinstance(together, AtOnce)
    assert counts == [len(learning_groups(together.training.network, wanted[0].recipe))]
    for index, member in enumerate(wanted):
        fitted, tensors = alone(without_dropout, member, toy_store, tmp_path)
        assert together.take(index).row["val_loss"] == pytest.approx(fitted.row["val_loss"], abs=1e-5)
        for name, tensor in together.training.network.state_dict().items():
            torch.testing.assert_close(tensor, tensors[name], rtol=1e-4, atol=1e-5)


class Halving(Small):
    """Its steps have a constant, which is no tensor of the network."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * torch.tensor(0.5)


class TwoHeads(Small):
    """A second head on the features of the first block, which is heard while the network trains."""

    def __init__(self, num_classes: int, dropout: float) -> None:
        super().__init__(num_classes, dropout=dropout)
        self.extra = nn.Linear(8, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor | dict[str, torch.Tensor]:  # type: ignore[override]
        features = self.blocks[0](torch.relu(self.stem(x)))
        logits = self.head(self.blocks[1](features).mean((2, 3)))
        return {"logits": logits, "extra": self.extra(features.mean((2, 3)))} if self.training else logits


@pytest.mark.parametrize("kind", [Halving, TwoHeads])
def test_constants_of_the_steps_and_auxiliary_heads_are_everybodys(
    kind: type[Small], toy_store: Store, tmp_path: Path
) -> None:
    def made(seed: int) -> nn.Module:
        with own_randomness(seed):
            return kind(2, dropout=0.0)

    wanted = members(made, depth=1)
    together = at_once(made, wanted, toy_store, tmp_path)
    assert isinstance(together, AtOnce), together
    fitted, tensors = alone(made, wanted[1], toy_store, tmp_path)
    assert together.take(1).row["val_loss"] == pytest.approx(fitted.row["val_loss"], abs=1e-5)
    for name, tensor in together.training.network.state_dict().items():
        torch.testing.assert_close(tensor, tensors[name], rtol=1e-4, atol=1e-5)


def test_memory_is_that_of_all_together(build_small: Build, toy_store: Store, tmp_path: Path) -> None:
    together = at_once(build_small, members(build_small), toy_store, tmp_path)
    assert isinstance(together, AtOnce)
    one = together.take(0).cost["peak_memory_bytes"]
    unrelated = torch.ones(2**26)
    assert together.take(1).cost["peak_memory_bytes"] == one == together.peak_memory
    del unrelated


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"wise_ft": 0.5, "depth": 1}, "an average of the weights is one network's"),
        ({"soup": 2}, "an average of the weights is one network's"),
        ({"optimizer": OptimizerName.lamb}, "LAMB looks at each tensor as a whole"),
        ({"phases": Phases.gradual, "depth": 1}, "the phases have different prefixes"),
        ({"mix": Mix.mixup}, "pictures that are mixed are not stored"),
        ({"ema": 0.9}, "an average of the weights is one network's"),
        ({"early_stopping": 1}, "each would stop at another epoch"),
        ({"l2_sp": 0.1, "depth": 1}, "the pull to the source model is one network's"),
        ({"augmentation": AugmentationName.standard}, "each epoch augments every picture anew"),
        ({"depth": 0}, "features are not stored"),
        ({"augmentation": AugmentationName.standard, "views": 2}, "each seed augments in its own way"),
    ],
)
def test_what_cannot_be_stacked_is_said(
    build_small: Build, toy_store: Store, tmp_path: Path, changes: dict[str, object], reason: str
) -> None:
    found = at_once(build_small, members(build_small, OWN_SEEDS, **changes), toy_store, tmp_path)
    assert isinstance(found, str)
    assert reason in found


def test_dropout_of_different_seeds_is_not_stacked(
    build_small: Build, toy_store: Store, tmp_path: Path
) -> None:
    found = at_once(build_small, members(build_small, OWN_SEEDS), toy_store, tmp_path)
    assert isinstance(found, str)
    assert "random" in found


def test_recipes_of_different_shape_are_a_mistake(
    build_small: Build, toy_store: Store, tmp_path: Path
) -> None:
    one, two, three = members(build_small)
    longer = replace(two, recipe=replace(two.recipe, epochs=9))
    with pytest.raises(ValueError, match="may differ in body_lr, head_lr"):
        at_once(build_small, [one, longer, three], toy_store, tmp_path)
