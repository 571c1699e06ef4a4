"""One fine-tuning: phases, what pulls the weights, and going on after a kill."""

import math
import os
import signal
from typing import Any

import numpy as np
import pytest
import torch
from tests_trainings import CPU, GRADUAL, PROBE, Build, Calms, comparable, die, let_be_best, recipe, train
from torch import nn
from torch.nn import functional

from thawline.config.sections import (
    ClassWeights,
    Finetune,
    Keep,
    Method,
    Mix,
    OptimizerName,
    Phases,
)
from thawline.data.batches import Batches
from thawline.data.mix import mix
from thawline.data.store import Store
from thawline.models.freezing import state_hashes
from thawline.models.thawing import thaw
from thawline.training.classifier import Classifier
from thawline.training.run import Training

BLOCKS = {f"blocks.{index}.{layer}" for index in (0, 1) for layer in ("conv", "norm")}
EVERYTHING = {"stem.0", "stem.1", *BLOCKS, "head"}


def test_a_network_in_evaluation_mode_is_trained_as_any_other(
    calm: Calms, build_small: Build, toy_store: Store
) -> None:
    """Loaded networks are in evaluation mode, in which BatchNorm would neither look at the batch nor go on
    estimating, and dropout would do nothing."""
    evaluating, undisturbed = build_small(0).eval(), calm(**GRADUAL)
    train(evaluating, toy_store, **GRADUAL)
    assert undisturbed.end == state_hashes(evaluating) != undisturbed.states[0]
    assert evaluating.get_buffer("stem.1.num_batches_tracked") > 0


def test_gradual_unfreezing_reaches_one_more_unit_at_a_time(calm: Calms) -> None:
    """An optimizer that was built once, while the body is frozen, would never move it."""
    states = calm(**GRADUAL).states
    changed = [
        {name.rpartition(".")[0] for name in before if before[name] != after[name]}
        for before, after in zip(states, states[1:], strict=False)
    ]
    last = {"head", "blocks.1.conv", "blocks.1.norm"}
    assert changed == [{"head"}, last, BLOCKS | {"head"}, EVERYTHING, EVERYTHING, EVERYTHING]


@pytest.mark.parametrize("phased", [PROBE, GRADUAL])
def test_epochs_are_counted_on_over_phases(phased: dict, calm: Calms) -> None:
    found = calm(**phased)
    assert [row["epoch"] for row in found.fitted.history] == list(range(phased["epochs"]))
    assert len(found.states) == 1 + phased["epochs"]  # each was told of
    assert found.fitted.epoch == phased["epochs"] - 1


def test_no_phase_repeats_the_random_numbers_of_another(
    build_small: Build, toy_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds: list[int] = []
    monkeypatch.setattr("thawline.training.classifier.reseed", lambda seed, _: seeds.append(seed))
    train(build_small(0), toy_store, **PROBE)
    assert len(set(seeds)) == len(seeds) == 4 * 4  # 16 pictures are 4 steps an epoch


@pytest.mark.parametrize(("best", "phased"), [(0, PROBE), (4, GRADUAL)])
def test_a_phase_goes_on_from_the_last_epoch_whichever_is_kept(
    best: int,
    phased: dict,
    calm: Calms,
    build_small: Build,
    toy_store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Going on from the best would throw away phases that had none better."""
    network, undisturbed = build_small(0), calm(**phased)
    let_be_best(best, monkeypatch)
    fitted = train(network, toy_store, **phased, keep=Keep.best)
    assert comparable(fitted) == comparable(undisturbed.fitted)
    assert fitted.epoch == best
    assert state_hashes(network) == undisturbed.states[best + 1]


def plain_fine_tuning(network: nn.Module, store: Store, settings: Finetune) -> None:
    """What follows the probe of LP-FT, as anyone would write it down (Kumar et al. 2022), without dropout."""
    part = store.part("train")
    data = Batches(part.images, part.labels, part.transform, settings.batch_size, shuffle=True, seed=0)
    network.train().requires_grad_(True)
    decays = [(each, settings.weight_decay if each.ndim > 1 else 0.0) for each in network.parameters()]
    groups = [{"params": [each], "weight_decay": decay} for each, decay in decays]
    # or a bias before BatchNorm, whose gradient is nothing but rounding, goes another way
    optimizer = torch.optim.AdamW(groups, fused=True)
    total, step = settings.epochs * len(data), 0
    rising = math.ceil(settings.warmup * total)
    norms = [each for each in network.modules() if isinstance(each, torch.nn.BatchNorm2d)]
    for epoch in range(settings.epochs):
        data.set_epoch(epoch)
        for index, (images, labels, _) in enumerate(data):
            for norm in norms:
                norm.momentum = max(0.1, 1 / (index + 1))  # the mean over the epoch
            share = (step - rising) / (total - rising)
            height = (step + 1) / (rising + 1) if step < rising else (1 + math.cos(math.pi * share)) / 2
            for group in optimizer.param_groups:
                group["lr"] = settings.body_lr * height
            optimizer.zero_grad()
            functional.cross_entropy(network(images), labels).backward()
            optimizer.step()
            step += 1


def test_probe_first_is_lp_ft(build_small: Build, toy_store: Store) -> None:
    ours, theirs = build_small(0), build_small(0)
    for network in (ours, theirs):
        network.get_submodule("dropout").p = 0.0
    train(ours, toy_store, **PROBE, weight_decay=0.1)
    train(theirs, toy_store, depth="all")
    thaw(theirs)
    plain_fine_tuning(theirs, toy_store, recipe(**PROBE, weight_decay=0.1))
    for name, tensor in ours.state_dict().items():
        torch.testing.assert_close(tensor, theirs.state_dict()[name], atol=1e-6, rtol=0, msg=name)


def test_a_training_whose_cost_cannot_be_counted_is_not_lost(
    calm: Calms, build_small: Build, toy_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted, other = calm(), build_small(0)
    monkeypatch.setattr("thawline.training.cost.flops", die)
    monkeypatch.setattr("thawline.training.cost._counted", {})
    fitted = train(other, toy_store)
    assert state_hashes(other) == counted.end
    assert counted.fitted.cost.keys() - fitted.cost.keys() == {
        "forward_flops",
        "step_flops",
        "training_flops",
    }
    assert None not in fitted.cost.values()


def test_the_operations_of_a_training_are_those_of_each_phase(build_small: Build, toy_store: Store) -> None:
    probe = train(build_small(0), toy_store, depth="all", epochs=1).cost
    whole = train(build_small(0), toy_store, depth=0, epochs=2).cost
    both = train(build_small(0), toy_store, depth=0, epochs=2, phases=Phases.probe_first).cost
    assert whole["training_flops"] == 2 * 16 * whole["step_flops"]
    assert both["step_flops"] == whole["step_flops"]
    assert probe["training_flops"] == 16 * probe["forward_flops"]
    assert both["training_flops"] == 16 * (probe["forward_flops"] + 2 * whole["step_flops"])


@pytest.mark.parametrize(
    "changes",
    [
        {"depth": 0, "phases": Phases.probe_first},
        {"depth": 1, "method": Method.norm, "phases": Phases.gradual},
    ],
)
def test_what_will_learn_is_counted_before_it_does(
    changes: dict[str, object], build_small: Build, toy_store: Store
) -> None:
    training = Training(build_small(0), recipe(**changes), toy_store, CPU, seed=0, mirror=False)
    before = training.trainable_parameters()
    assert before == training.run().cost["trainable_parameters"]


def test_a_strong_pull_keeps_the_body_where_it_started(build_small: Build, toy_store: Store) -> None:
    start = build_small(0).state_dict()
    distances = []
    for strength in (0.0, 50.0):
        network = build_small(0)
        train(network, toy_store, l2_sp=strength, optimizer=OptimizerName.sgd, weight_decay=0.0)
        moved = [(tensor - start[name]).norm() for name, tensor in network.named_parameters()]
        distances.append([each.item() for each in moved])
    free, pulled = distances
    assert sum(pulled[:-2]) < 0.2 * sum(free[:-2])
    assert min(pulled[-2:]) > 0.2 * min(free[-2:])  # the head is not pulled


def test_pictures_are_mixed_for_training_only(
    build_small: Build, toy_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, kind = [], Mix.cutmix

    def record(images: torch.Tensor, labels: torch.Tensor, *rest: object) -> object:
        seen.append((len(images), rest))
        return mix(images, labels, *rest)

    monkeypatch.setattr("thawline.training.classifier.mix", record)
    train(build_small(0), toy_store, epochs=1, mix=kind, mix_alpha=0.4, class_weights=ClassWeights.balanced)
    assert seen == [(4, (2, kind, 0.4))] * 4  # of 16 pictures


def test_one_schedule_runs_over_all_gradual_phases(
    build_small: Build, toy_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []
    step = torch.optim.AdamW.step

    def record(self: torch.optim.AdamW, *args: object, **kwargs: object) -> object:
        rates.append(self.param_groups[0]["lr"])
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", record)
    train(build_small(0), toy_store, **GRADUAL | {"epochs": 4})
    gradual, rates[:] = list(rates), []
    train(build_small(0), toy_store, epochs=4)
    np.testing.assert_allclose(gradual, rates)


def test_a_process_that_is_told_to_end_does_not_wait_for_the_epoch(
    build_small: Build, toy_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []

    def told(self: Classifier, batch: Any) -> torch.Tensor:
        steps.append(len(batch[1]))
        if len(steps) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return loss(self, batch)

    loss = Classifier.batch_loss
    monkeypatch.setattr(Classifier, "batch_loss", told)
    with pytest.raises(KeyboardInterrupt):
        train(build_small(0), toy_store, epochs=2)
    assert len(steps) == 2
