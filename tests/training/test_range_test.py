"""The range test finds where learning starts and ends, and nobody can tell afterwards that it was there."""

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests_networks import freeze

from thawline.artifacts import Artifacts
from thawline.config.errors import UserError
from thawline.config.sections import (
    Config,
    Contender,
    Finetune,
    Method,
    Mix,
    Optimization,
    OptimizerName,
    Phases,
    Trainer,
)
from thawline.data.batches import Batches
from thawline.data.store import Store
from thawline.models.freezing import state_hashes
from thawline.models.zoo import build
from thawline.report.figures.range_test import write_range_test
from thawline.tracking.connection import connected
from thawline.training import range_test as tool
from thawline.training.batches import batches
from thawline.training.classifier import Classifier
from thawline.training.finetune import initial_network
from thawline.training.optimization import build_optimizer, groups
from thawline.training.range_test import (
    loss_by_rate,
    range_test,
)
from thawline.training.run import Training

CPU = Trainer(accelerator="cpu", threads=1)


@pytest.fixture
def network() -> torch.nn.Module:
    return build("tests_networks.Small", 2, seed=1)


def classifier_of(network: torch.nn.Module, depth: int = 0, **settings: Any) -> Classifier:
    frozen = freeze(network, depth)
    learning = [each for each in network.parameters() if each.requires_grad]
    rates = groups("head", learning[-2:], 1e-2, 0.01) + groups("body", learning[:-2], 1e-3, 0.01)
    return Classifier(frozen, rates, Optimization(**settings), seed=3, classes=2)


def training_batches(store: Store, size: int = 8) -> Batches:
    return batches(store.part("train"), size, seed=3)


class Recorded:
    """The learning rates of each group and step of a test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps: list[list[float]] = []

        def build(*arguments: Any) -> torch.optim.Optimizer:
            optimizer = build_optimizer(*arguments)
            optimizer.register_step_pre_hook(
                lambda given, *_: self.steps.append([group["lr"] for group in given.param_groups])
            )
            return optimizer

        monkeypatch.setattr("thawline.training.range_test.build_optimizer", build)


def test_rates_rise_geometrically_and_groups_keep_their_ratio(network, toy_store, monkeypatch):
    recorded = Recorded(monkeypatch)
    found = loss_by_rate(classifier_of(network), training_batches(toy_store), low=1e-5, high=1e-2, steps=16)
    np.testing.assert_allclose(found.rates, np.geomspace(1e-5, 1e-2, 16))
    steps = np.array(recorded.steps)
    np.testing.assert_allclose(steps[:, 0], found.rates)
    np.testing.assert_allclose(steps[:, -1], 0.1 * steps[:, 0])


def test_the_first_loss_is_that_of_the_network_as_it_is(network, toy_store):
    network.dropout.p = 0.0
    classifier, train = classifier_of(network), training_batches(toy_store)
    found = loss_by_rate(classifier, train, low=1e-9, high=1e-8, steps=3)
    expected = copy.deepcopy(classifier).train().batch_loss(next(iter(train)))
    assert found.losses[0] == expected.item()


@pytest.mark.parametrize(
    ("optimizer", "depth", "mix"), [(OptimizerName.adamw, 0, Mix.mixup), (OptimizerName.sgd, 2, Mix.none)]
)
def test_a_range_test_has_no_side_effects(network, toy_store, optimizer, depth, mix):
    """Weights, buffers, gradients, modes, the optimizer, the data's epoch and the random state."""
    classifier = classifier_of(network, depth, optimizer=optimizer, mix=mix)
    train = training_batches(toy_store)
    running = build_optimizer(classifier.groups, classifier.settings)
    batch = next(iter(train))
    classifier.batch_loss(batch).backward()
    running.step()
    network.blocks.eval()
    train.set_epoch(4)
    before = everything(network, classifier, running, train)
    loss_by_rate(classifier, train, steps=12)
    after = everything(network, classifier, running, train)
    assert after.keys() == before.keys()
    for name, value in before.items():
        assert after[name] == value, name


def everything(
    network: torch.nn.Module, classifier: Classifier, optimizer: torch.optim.Optimizer, train: Batches
) -> dict[str, Any]:
    state = optimizer.state_dict()
    return {
        "tensors": state_hashes(network),
        "gradients": {n: None if p.grad is None else p.grad.tolist() for n, p in network.named_parameters()},
        "learns": {name: each.requires_grad for name, each in network.named_parameters()},
        "modes": {name: module.training for name, module in classifier.named_modules()},
        "momenta": {
            key: {name: torch.as_tensor(value).tolist() for name, value in each.items()}
            for key, each in state["state"].items()
        },
        "groups": [{**group} for group in state["param_groups"]],
        "history": (list(classifier.history), list(classifier._losses)),
        "epoch": train.epoch,
        "torch": torch.get_rng_state().tolist(),
        "numpy": np.random.get_state()[1].tolist(),  # noqa: NPY002
        "threads": torch.get_num_threads(),
    }


def test_the_training_after_a_range_test_gives_the_same_bits(network, toy_store):
    def trained(tests_first: bool) -> dict[str, str]:
        classifier = classifier_of(copy.deepcopy(network))
        train = training_batches(toy_store)
        if tests_first:
            loss_by_rate(classifier, train, steps=12)
        optimizer = build_optimizer(classifier.groups, classifier.settings)
        for group in optimizer.param_groups:
            group["lr"] = 1e-3
        for batch in train:
            optimizer.zero_grad()
            classifier.batch_loss(batch).backward()
            optimizer.step()
        return state_hashes(classifier.network)

    torch.manual_seed(0)
    plain = trained(False)
    torch.manual_seed(0)
    assert trained(True) == plain


def test_equal_seeds_give_equal_tests(network, toy_store):
    first, second = (
        loss_by_rate(classifier_of(network), training_batches(toy_store), steps=20) for _ in range(2)
    )
    assert first == second


def test_it_stops_where_the_loss_diverges(network, toy_store):
    classifier = classifier_of(network, optimizer=OptimizerName.sgd)
    found = loss_by_rate(classifier, training_batches(toy_store), low=1e-4, high=1e6, steps=60)
    assert found.diverged
    assert len(found.rates) == len(found.losses) == len(found.smoothed) < 60
    assert all(math.isfinite(loss) for loss in found.losses)
    # the explosion itself would show in the smoothed losses of the steps before it
    assert max(found.smoothed) <= 2 * found.losses[0]


def test_a_learnable_task_is_learnt_fastest_between_the_extremes(network, toy_store):
    found = loss_by_rate(classifier_of(network), training_batches(toy_store), steps=100)
    assert found.steepest is not None
    assert found.tenth_of_minimum is not None
    assert 1e-4 < found.steepest < 0.3
    assert found.smoothed[-1] < found.smoothed[0] or found.diverged


def test_a_loss_that_is_no_number_is_refused(network, toy_store):
    with torch.no_grad():
        network.head.bias.fill_(math.nan)
    with pytest.raises(UserError, match=r"after 0 steps .* no finite number"):
        loss_by_rate(classifier_of(network), training_batches(toy_store))


@pytest.mark.parametrize("options", [{"low": 0.0}, {"low": 1.0, "high": 0.1}, {"steps": 2}])
def test_an_empty_range_is_refused(network, toy_store, options):
    with pytest.raises(ValueError, match="no range from"):
        loss_by_rate(classifier_of(network), training_batches(toy_store), **options)


def test_no_pictures_no_range(network, toy_store):
    none = Batches(toy_store.images[:0], np.zeros(0), toy_store.transform, 4, shuffle=True)
    with pytest.raises(ValueError, match="without pictures"):
        loss_by_rate(classifier_of(network), none)


@pytest.mark.slow
@pytest.mark.parametrize(
    "recipe",
    [
        {"units": ["blocks.0"], "l2_sp": 0.1, "layer_decay": 0.5},
        {"method": Method.adapter, "phases": Phases.probe_first, "epochs": 2},
    ],
)
def test_every_kind_of_recipe_can_be_tested(toy_artifacts: Artifacts, toy_store: Store, recipe):
    recipe = Finetune(batch_size=8, head_lr=1e-2, **recipe)
    network, _ = initial_network(recipe, toy_artifacts.stage("replace_head"), 0)
    training = Training(network, recipe, toy_store, CPU, seed=0, mirror=False)
    before = state_hashes(network)
    found, suggested = tool.tested(training)
    assert state_hashes(network) == before
    assert len(found.rates) > 50
    assert min(found.smoothed) < 0.8 * found.smoothed[0]
    assert suggested


@pytest.fixture
def finished(toy_artifacts: Artifacts) -> Callable[..., Path]:
    def make(**finetune: Any) -> Path:
        recipe = Finetune(batch_size=8, **finetune)
        config = Config(contenders=[Contender.finetuned], finetune=recipe, trainer=CPU)
        range_test(config, toy_artifacts, write_range_test)
        return toy_artifacts.stage_output("range_test")

    return make


def test_the_tool_leaves_a_table_a_figure_and_a_run(finished, toy_artifacts, caplog):
    caplog.set_level("INFO")
    folder = finished(depth=1)
    lines = (folder / "range_test.csv").read_text().splitlines()
    assert lines[0] == "step,rate,loss,smoothed"
    assert len(lines) > 50
    assert (folder / "range_test.png").read_bytes().startswith(b"\x89PNG")
    assert "finetune.head_lr=" in caplog.text
    assert "finetune.body_lr=" in caplog.text
    (run,) = connected().client.search_runs([connected().experiment_id])
    assert run.data.tags["stage"] == "range_test"
    assert run.data.tags["state"] == "complete"
    assert run.data.params["depth"] == "1"
    assert run.data.metrics.keys() >= {"rate", "loss", "smoothed", "steepest_head_lr"}
