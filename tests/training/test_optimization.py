"""Parameter groups, optimizers and schedules."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from thawline.config.sections import Optimization, OptimizerName, ScheduleName
from thawline.training.optimization import build_optimizer, factor, groups


def test_biases_and_norms_do_not_decay() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    decayed, undecayed = groups("body", network.parameters(), 1e-3, 0.1)
    assert [each.ndim for each in decayed.parameters] == [4, 2]
    assert (decayed.weight_decay, undecayed.weight_decay) == (0.1, 0.0)
    assert {each.ndim for each in undecayed.parameters} == {1}


def test_where_nothing_decays_there_is_one_group() -> None:
    network = nn.Linear(4, 2)
    (group,) = groups("head", network.parameters(), 1e-3, 0.0)
    assert group.parameters == (network.weight, network.bias)
    assert group.weight_decay == 0.0


@given(st.lists(st.integers(1, 4), min_size=1, max_size=12))
def test_every_parameter_is_in_exactly_one_group(axes: list[int]) -> None:
    parameters = [nn.Parameter(torch.zeros([1] * count)) for count in axes]
    found = [each for group in groups("all", parameters, 1.0, 0.1) for each in group.parameters]
    assert sorted(map(id, found)) == sorted(map(id, parameters))


@pytest.mark.parametrize(
    ("name", "kind"), [(OptimizerName.adamw, torch.optim.AdamW), (OptimizerName.sgd, torch.optim.SGD)]
)
def test_each_group_keeps_its_rate_and_decay(name: OptimizerName, kind: type) -> None:
    weight = nn.Parameter(torch.zeros(2, 2))
    optimizer = build_optimizer(groups("head", [weight], 0.3, 0.1), Optimization(optimizer=name))
    assert isinstance(optimizer, kind)
    assert [(group["lr"], group["weight_decay"]) for group in optimizer.param_groups] == [(0.3, 0.1)]


def test_an_optimizer_without_parameters_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="nothing to train"):
        build_optimizer((), Optimization())


@given(st.sampled_from(ScheduleName), st.floats(0, 0.99), st.integers(1, 500), st.integers(0, 499))
def test_the_factor_is_between_nothing_and_the_full_rate(
    schedule: ScheduleName, warmup: float, steps: int, step: int
) -> None:
    assert 0 <= factor(schedule, warmup, steps)(min(step, steps - 1)) <= 1


@given(st.sampled_from(ScheduleName), st.floats(0, 0.9), st.integers(1, 500))
def test_the_first_step_is_never_wasted(schedule: ScheduleName, warmup: float, steps: int) -> None:
    assert factor(schedule, warmup, steps)(0) > 0


def test_warm_up_rises_then_the_cosine_falls_to_nothing() -> None:
    at = factor(ScheduleName.cosine, 0.1, 100)
    assert [at(step) for step in range(10)] == sorted(at(step) for step in range(10))
    assert at(10) == 1
    assert at(55) == pytest.approx(0.5)
    assert at(100) == pytest.approx(0)
    assert at(30) == pytest.approx(0.5 * (1 + math.cos(math.pi * 20 / 90)))


def test_a_line_falls_evenly_and_a_constant_stays() -> None:
    assert factor(ScheduleName.linear, 0.0, 10)(5) == pytest.approx(0.5)
    assert factor(ScheduleName.constant, 0.0, 10)(9) == 1


@pytest.mark.parametrize("steps", [3, 7, 50, 100])
@pytest.mark.parametrize("warmup", [0.0, 0.05, 0.3])
def test_one_cycle_is_pytorchs(warmup: float, steps: int) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=steps, pct_start=warmup)
    ours = factor(ScheduleName.one_cycle, warmup, steps)
    for step in range(steps):
        assert ours(step) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-9)
        optimizer.step()
        if step + 1 < steps:
            theirs.step()


def test_one_cycle_reaches_the_top_where_pytorchs_divides_by_zero() -> None:
    assert factor(ScheduleName.one_cycle, 0.1, 10)(0) == 1


def test_steps_go_down_to_tenths() -> None:
    at = factor(ScheduleName.step, 0.0, 100)
    assert [at(step) for step in (0, 29, 30, 59, 60, 89, 90, 99)] == pytest.approx(
        [1, 1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001]
    )


def test_decay_all_is_one_group() -> None:
    layer = nn.Linear(3, 2)
    (only,) = groups("all", layer.parameters(), 1e-3, 0.1, decay_all=True)
    assert (len(only.parameters), only.weight_decay) == (2, 0.1)


def test_lamb_changes_each_tensor_by_a_share_of_its_length() -> None:
    weight = nn.Parameter(torch.full((4, 4), 3.0))
    optimizer = build_optimizer(groups("a", [weight], 0.01, 0.1), Optimization(optimizer=OptimizerName.lamb))
    weight.square().sum().backward()
    before = weight.detach().clone()
    optimizer.step()
    assert (weight - before).norm().item() == pytest.approx(0.01 * before.norm().item(), rel=1e-4)
