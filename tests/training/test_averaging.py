"""Averages of weights: exact where nothing differs, and what their formulas say elsewhere."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from thawline.config.sections import Method
from thawline.models.adapters import Adaptation, adapt
from thawline.models.freezing import freeze, state_hashes
from thawline.training.averaging import MovingAverage, estimate_statistics, greedy_soup, snapshot, towards

Build = Callable[[int], nn.Module]


def test_the_moving_average_is_the_formulas(build_small: Build) -> None:
    network = build_small(0)
    average = MovingAverage(network, 0.9)
    weight, statistics = network.get_parameter("head.weight"), network.get_buffer("stem.1.running_mean")
    average.update(network)
    expected = [weight.detach().clone(), statistics.clone()]
    for step in range(3):
        with torch.no_grad():
            weight.add_(step + 1)
            statistics.sub_(step + 1)
        average.update(network)
        expected = [0.9 * old + 0.1 * new for old, new in zip(expected, (weight, statistics), strict=True)]
    torch.testing.assert_close(average.module.get_parameter("head.weight"), expected[0])
    torch.testing.assert_close(average.module.get_buffer("stem.1.running_mean"), expected[1])


def test_the_average_of_what_is_frozen_is_what_is_frozen(build_small: Build) -> None:
    network = build_small(0)
    for path in ("stem.1", "blocks.0.norm", "blocks.1.norm"):
        network.get_buffer(f"{path}.num_batches_tracked").fill_(7)
    average = MovingAverage(network, 0.9)
    before = state_hashes(network)
    for _ in range(5):
        average.update(network)
    assert state_hashes(average.module) == before


def test_only_what_learns_or_moves_is_averaged(build_small: Build) -> None:
    """Reading and writing all of a frozen prefix at every step would cost as much as some of its layers."""
    network = build_small(0)
    with torch.no_grad():
        network.get_parameter("stem.0.bias").mul_(0).neg_()
    held = freeze(network, 2).train()
    average = MovingAverage(held, 0.9)
    before = state_hashes(average.module)
    writes = {name: tensor._version for name, tensor in average.module.state_dict(keep_vars=True).items()}
    for _ in range(3):
        with torch.no_grad():
            for tensor in held.suffix.state_dict().values():
                tensor.add_(1)
        average.update(held)
    after, tensors = state_hashes(average.module), average.module.state_dict(keep_vars=True)
    moved = {name for name in before if name.startswith("suffix")}
    assert {name for name in before if before[name] != after[name]} == moved
    assert {name for name in before if tensors[name]._version > writes[name]} == moved


def test_a_moving_average_goes_on_where_its_state_was_saved(build_small: Build) -> None:
    network = build_small(0)
    average = MovingAverage(network, 0.9)
    average.update(network)
    other = MovingAverage(build_small(1), 0.9)
    other.load_state_dict(average.state_dict())
    with torch.no_grad():
        network.get_parameter("head.weight").add_(1)
    for each in (average, other):
        each.update(network)
    assert state_hashes(other.module) == state_hashes(average.module) != state_hashes(network)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_averaging_does_not_wait_for_the_gpu(build_small: Build) -> None:
    network = build_small(0).cuda()
    average = MovingAverage(network, 0.9)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(2):
            average.update(network)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_an_adapted_partly_frozen_network_is_averaged_as_it_computes(build_small: Build) -> None:
    network = adapt(build_small(0), Adaptation(Method.lora, (0,)), seed=0)
    held = freeze(network, 1)
    average = MovingAverage(held, 0.5)
    average.update(held)
    pictures = torch.rand(2, 3, 16, 16)
    average.eval()
    held.eval()
    assert torch.equal(average(pictures), held(pictures))
    assert average.module.state_dict().keys() == held.state_dict().keys()


@given(st.floats(-1e3, 1e3, width=32), st.floats(0, 1))
def test_between_equal_weights_there_is_nothing_else(value: float, share: float) -> None:
    weight = torch.full((3,), value)
    assert torch.equal(towards({"w": weight}, {"w": weight.clone()}, share)["w"], weight)


def test_tensors_without_a_difference_stay_bit_for_bit() -> None:
    """The interpolation of -0.0 and -0.0 would be 0.0."""
    zero = torch.tensor([-0.0, 1.0])
    found = towards({"w": zero}, {"w": zero.clone()}, 0.25)["w"]
    assert torch.signbit(found).tolist() == [True, False]


def test_the_way_back_is_a_line_and_spares_heads_and_counts() -> None:
    start = {"body": torch.zeros(2), "head": torch.zeros(2), "count": torch.tensor(1)}
    end = {"body": torch.ones(2), "head": torch.ones(2), "count": torch.tensor(5), "added": torch.ones(1)}
    found = towards(start, end, 0.25, but={"head"})
    assert found["body"].tolist() == [0.25, 0.25]
    assert found["head"].tolist() == [1, 1]
    assert (found["count"], found["added"]) == (5, 1)


@pytest.mark.parametrize(
    ("answers", "used"),
    [([0.9, 0.9], [1, 2, 0]), ([0.7, 0.9], [1, 0]), ([0.9, 0.7], [1, 2]), ([0.7, 0.7], [1])],
)
def test_a_soup_takes_what_does_not_lower_the_accuracy(answers: list[float], used: list[int]) -> None:
    states = [{"w": torch.tensor([float(value)])} for value in (1, 2, 6)]
    remaining = list(answers)
    soup, found = greedy_soup(states, [(0.8, 0.9), (0.8, 0.1), (0.8, 0.5)], lambda _: (remaining.pop(0), 0.0))
    assert found == used
    assert soup["w"].item() == pytest.approx(sum((1, 2, 6)[index] for index in used) / len(used))


def test_statistics_are_those_of_all_pictures_at_once(build_small: Build) -> None:
    network = build_small(0)
    pictures = torch.rand(10, 3, 16, 16)
    before = state_hashes(network)
    estimate_statistics(network, {"stem.1"}, pictures.split(4))
    seen = network.stem[0](pictures)
    torch.testing.assert_close(network.stem[1].running_mean, seen.mean((0, 2, 3)))
    after = state_hashes(network)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"stem.1.running_mean", "stem.1.running_var", "stem.1.num_batches_tracked"}
    assert network.stem[1].momentum == 0.1
    assert not any(module.training for module in network.modules())


def test_a_snapshot_does_not_follow(build_small: Build) -> None:
    network = build_small(0)
    kept = snapshot(network)
    with torch.no_grad():
        network.get_parameter("head.weight").zero_()
    assert kept["head.weight"].any()
