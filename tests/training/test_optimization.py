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
