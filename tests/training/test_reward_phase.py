"""The reward phase of a fine-tuning: what it begins with, holds to, and goes on with after a kill."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tests_trainings import CPU, PROBE, Build, Calms, comparable, die_after, recipe, train
from torch import nn

from thawline.config.errors import UserError
from thawline.config.recipe.rewards import Reward
from thawline.config.sections import Config, Evaluate, Finetune, OptimizerName
from thawline.data.store import Store
from thawline.models.freezing import state_hashes
from thawline.models.inference import probabilities
from thawline.models.zoo import build
from thawline.training.batches import batches
from thawline.training.features.cache import PrefixCache
from thawline.training.rewards import with_costs
from thawline.training.run import Training

COSTS = {"reward": Reward.costs, "reward_costs": [[0.0, 50.0], [1.0, 0.0]]}
BALANCED = {"reward": Reward.balanced_accuracy}


def test_it_begins_where_likelihood_training_ends_and_goes_on(build_small: Build, toy_store: Store) -> None:
    """The epochs before it are those of a training without one, to the last bit."""
    plain, rewarded = build_small(0), build_small(0)
    expected = train(plain, toy_store, epochs=2)
    found = train(rewarded, toy_store, epochs=3, **BALANCED)
    assert comparable(found)[:2] == comparable(expected)
    assert found.before is not None
    for name, tensor in plain.state_dict().items():
        assert torch.equal(found.before[name], tensor), name
    assert state_hashes(rewarded) != state_hashes(plain)
    assert found.epoch == 2


def test_it_makes_the_expected_cost_smaller(build_small: Build, toy_store: Store) -> None:
    """Of the pictures it learns from: a label drawn after it costs less than one drawn before."""
    network = build_small(0)
    fitted = train(network, toy_store, epochs=8, reward_share=0.75, reward_kl=0.0, **COSTS)
    assert fitted.before is not None
    pictures, costs = toy_store.part("train"), np.array(COSTS["reward_costs"])
    drawn = []
    for state in (fitted.before, network.state_dict()):
        asked = build("tests_networks.Small", 2, seed=0)
        asked.load_state_dict(state)
        found = probabilities(asked, batches(pictures, 16), "cpu")
        drawn.append((found * costs[pictures.labels]).sum(1).mean())
    assert drawn[1] < 0.7 * drawn[0]


def test_a_price_on_divergence_holds_it_where_it_began(toy_store: Store) -> None:
    """With a price that no reward pays, less changes than without one."""
    moved = []
    for kl in (0.0, 20.0):
        network = build("tests_networks.Plain", 2, seed=0)
        # Adam's steps would be as large whatever the gradient is
        changes = {"optimizer": OptimizerName.sgd, "body_lr": 1e-2, "head_lr": 1e-2, "epochs": 6}
        fitted = train(network, toy_store, reward_share=0.5, reward_kl=kl, **changes, **COSTS)
        assert fitted.before is not None
        asked = build("tests_networks.Plain", 2, seed=0)
        asked.load_state_dict(fitted.before)
        before, after = (probabilities(each, batches(toy_store, 32), "cpu") for each in (asked, network))
        moved.append(np.abs(after - before).mean())
    assert moved[1] < 0.5 * moved[0]


@pytest.mark.parametrize(("epoch", "phased"), [(1, {"ema": 0.5}), (2, PROBE)])
def test_a_killed_training_goes_on_bit_for_bit(
    epoch: int, phased: dict, calm: Calms, build_small: Build, toy_store: Store, tmp_path: Path
) -> None:
    changes = {**phased, "epochs": 4, "reward_share": 0.5, **COSTS}
    undisturbed, again = calm(**changes), build_small(0)
    expected = undisturbed.fitted
    with pytest.raises(SystemError):
        train(build_small(0), toy_store, checkpoint=tmp_path / "c", after=die_after(epoch), **changes)
    resumed = train(again, toy_store, checkpoint=tmp_path / "c", **changes)
    assert state_hashes(again) == undisturbed.end
    assert comparable(resumed) == comparable(expected)
    assert resumed.before is not None
    assert expected.before is not None
    assert all(torch.equal(tensor, expected.before[name]) for name, tensor in resumed.before.items())


def test_a_batch_in_parts_makes_the_step_of_the_whole(toy_store: Store) -> None:
    toy_store.manifest.loc[:5, "label"] = "across"
    networks = [build("tests_networks.Plain", 2, seed=0) for _ in range(2)]
    histories = []
    for network, accumulate in zip(networks, (1, 3), strict=True):
        settings = recipe(batch_size=6, optimizer=OptimizerName.sgd, epochs=3, **BALANCED)
        training = Training(network, settings, toy_store, CPU, seed=0, mirror=False, accumulate=accumulate)
        histories.append([row["train_loss"] for row in training.run().history])
    np.testing.assert_allclose(*histories, rtol=1e-5)
    for name, tensor in networks[0].state_dict().items():
        torch.testing.assert_close(networks[1].state_dict()[name], tensor, rtol=1e-4, atol=1e-5)


def test_on_stored_features_it_does_what_it_does_on_pictures(
    build_small: Build, toy_store: Store, tmp_path: Path
) -> None:
    found = []
    for cache in (None, PrefixCache(tmp_path / "prefix", CPU)):
        network: nn.Module = build_small(0)
        settings = recipe(epochs=4, depth=1, reward_share=0.5, **COSTS)
        training = Training(network, settings, toy_store, CPU, seed=0, mirror=False, cache=cache)
        found.append([row["train_loss"] for row in training.run().history])
    np.testing.assert_allclose(*found, rtol=1e-4)


def test_a_head_that_is_solved_is_trained_for_no_reward(build_small: Build, toy_store: Store) -> None:
    with pytest.raises(
        UserError, match=r"finetune\.reward = costs is trained for step by step(?s:.*)reward=none"
    ):
        train(build_small(0), toy_store, depth="all", body_lr=None, **COSTS)


def test_f_beta_in_parts_is_refused_before_anything_is_trained(build_small: Build, toy_store: Store) -> None:
    settings = recipe(epochs=3, reward=Reward.f_beta, reward_class="across")
    with pytest.raises(UserError, match=r"no mean over pictures"):
        Training(build_small(0), settings, toy_store, CPU, seed=0, mirror=False, accumulate=2)


@pytest.mark.parametrize(
    "changes", [{"reward": Reward.f_beta, "reward_class": "across"}, {"reward": Reward.abstention}]
)
def test_rewards_of_whole_batches_are_trained_for(
    changes: dict, build_small: Build, toy_store: Store
) -> None:
    fitted = train(build_small(0), toy_store, epochs=6, reward_share=0.5, reward_kl=0.01, **changes)
    losses = [row["train_loss"] for row in fitted.history]
    assert losses[-1] < losses[3]


def test_costs_come_from_the_table_in_the_order_of_the_classes(tmp_path: Path) -> None:
    table = tmp_path / "costs.csv"
    table.write_text("true,b,a\nb,0,7\na,2,0\n")
    config = Config(
        finetune=Finetune(reward=Reward.costs), evaluate=Evaluate(costs=str(table), costs_watch=str(table))
    )
    found = with_costs(config.finetune, config, ("a", "b"))
    assert found.reward_costs == [[0.0, 2.0], [7.0, 0.0]]
    table.write_text("true,b,a\nb,0,7\n")
    with pytest.raises(UserError, match=r"evaluate\.costs = .*its first column lacks a"):
        with_costs(config.finetune, config, ("a", "b"))
