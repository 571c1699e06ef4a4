"""What a reward phase makes larger: beside the enumeration of all labels that could be drawn."""

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from thawline.config.errors import UserError
from thawline.config.recipe.rewards import Reward
from thawline.config.sections import Finetune
from thawline.training.parameter_groups import balanced_weights
from thawline.training.rewards import (
    Objective,
    by_cost,
    counts_of,
    expected_f_beta,
    expected_gain,
    expected_where_answered,
    require_class,
    require_whole_batches,
    rewarding_of,
)

COSTS = [[0.0, 1.0, 4.0], [5.0, 0.0, 1.0], [2.0, 2.0, 0.0]]
CLASSES = ("a", "b", "c")


def drawn(seed: int, count: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (count, 3) in double precision, and labels (count,)."""
    random = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(count, 3, generator=random, dtype=torch.float64)
    return logits.requires_grad_(), torch.randint(3, (count,), generator=random)


def enumerated(probabilities: torch.Tensor, reward: Callable[[tuple[int, ...]], float]) -> torch.Tensor:
    """The mean of `reward` over all labels that can be drawn, weighed by how probable they are."""
    draws = list(product(range(3), repeat=len(probabilities)))
    chances = probabilities[torch.arange(len(probabilities)), torch.tensor(draws)].prod(1)
    return chances @ torch.tensor([reward(labels) for labels in draws]).to(chances)


def f_beta(labels: tuple[int, ...], truth: list[int], beta: float) -> float:
    hits = sum(label == true == 1 for label, true in zip(labels, truth, strict=True))
    alarms, of_class = sum(label == 1 for label in labels) - hits, truth.count(1)
    return (1 + beta**2) * hits / (beta**2 * of_class + hits + alarms) if of_class else 0.0


def rewards(truth: list[int], probabilities: torch.Tensor) -> dict[str, tuple[Callable, Callable]]:
    """Each reward: as it is computed of (probabilities, shares), and of labels that were drawn."""
    counts = [7, 2, 4]
    sure = probabilities.detach().max(1).values.topk(3).indices.tolist()
    gain = by_cost(COSTS).double()
    balanced = torch.diag(balanced_weights(np.repeat([0, 1, 2], counts), 3)).double()
    return {
        "costs": (
            lambda p, s: expected_gain(p, s, gains=gain),
            lambda labels: 1 - np.mean([COSTS[t][d] for t, d in zip(truth, labels, strict=True)]) / 5,
        ),
        "balanced_accuracy": (
            lambda p, s: expected_gain(p, s, gains=balanced),
            lambda labels: np.mean(
                [(t == d) * 13 / 3 / counts[t] for t, d in zip(truth, labels, strict=True)]
            ),
        ),
        **{
            f"f_beta {beta}": (
                lambda p, s, beta=beta: expected_f_beta(p, s, at=1, beta=beta),
                lambda labels, beta=beta: f_beta(labels, truth, beta),
            )
            for beta in (1.0, 2.0)
        },
        "abstention": (
            lambda p, s: expected_where_answered(p, s, abstention=0.25),
            lambda labels: np.mean([labels[each] == truth[each] for each in sure]),
        ),
    }


@given(st.integers(0, 1000))
def test_expectations_and_gradients_are_those_of_all_draws(seed: int) -> None:
    logits, labels = drawn(seed)
    truth, shares = labels.tolist(), functional.one_hot(labels, 3).double()
    for name, (computed, of_draw) in rewards(truth, logits.softmax(1)).items():
        expected = enumerated(logits.softmax(1), of_draw)
        found = computed(logits.softmax(1), shares)
        torch.testing.assert_close(found, expected.to(found), msg=name, atol=1e-6, rtol=1e-5)
        gradients = [torch.autograd.grad(each, logits, allow_unused=True)[0] for each in (found, expected)]
        known = [torch.zeros_like(logits) if each is None else each for each in gradients]
        torch.testing.assert_close(*known, msg=name, atol=1e-6, rtol=1e-5)


def test_the_derivative_of_f_beta_is_what_a_picture_contributes_when_it_is_left_out() -> None:
    logits, labels = drawn(3)
    truth, shares = [1, 0, 1, 2], functional.one_hot(torch.tensor([1, 0, 1, 2]), 3).double()
    called = logits.softmax(1).detach().requires_grad_()
    (slope,) = torch.autograd.grad(expected_f_beta(called, shares, at=1, beta=1), called)
    for picture in range(len(truth)):
        sure, never = called.detach().clone(), called.detach().clone()
        sure[picture, 1], never[picture, 1] = 1, 0
        gained = expected_f_beta(sure, shares, at=1, beta=1) - expected_f_beta(never, shares, at=1, beta=1)
        torch.testing.assert_close(slope[picture, 1], gained)


@given(st.lists(st.floats(0, 1), max_size=5))
def test_counts_of_independent_events(chances: list[float]) -> None:
    expected = np.zeros(len(chances) + 1)
    for happen in product((0, 1), repeat=len(chances)):
        expected[sum(happen)] += np.prod([p if so else 1 - p for p, so in zip(chances, happen, strict=True)])
    np.testing.assert_allclose(counts_of(torch.tensor(chances, dtype=torch.float64)), expected, atol=1e-12)


def test_a_batch_without_the_class_teaches_nothing_about_its_f_beta() -> None:
    called = torch.full((2, 3), 1 / 3, requires_grad=True)
    found = expected_f_beta(called, functional.one_hot(torch.tensor([0, 2]), 3).float(), at=1, beta=1)
    (slope,) = torch.autograd.grad(found, called)
    assert found == 0
    assert not slope.any()


def test_the_mean_over_an_epochs_batches_is_balanced_accuracy() -> None:
    """Of all training pictures, though a batch has none of some class."""
    labels, answers = np.array([0, 0, 0, 0, 1, 2]), np.array([0, 1, 0, 0, 1, 0])
    sure = functional.one_hot(torch.from_numpy(answers), 3).float()
    shares = functional.one_hot(torch.from_numpy(labels), 3).float()
    gains = torch.diag(balanced_weights(labels, 3))
    batches = [expected_gain(sure[rows], shares[rows], gains=gains) for rows in ([0, 1, 2], [3, 4, 5])]
    assert torch.stack(batches).mean() == pytest.approx((3 / 4 + 1 + 0) / 3)


def test_rows_of_shares_are_as_many_pictures_as_they_weigh() -> None:
    """A picture of weight 2 is two, and one that two voters are divided over is half of each."""
    logits, _ = drawn(0, 2)
    probabilities = logits.softmax(1)
    shares = torch.tensor([[2.0, 0, 0], [0, 0.5, 0.5]], dtype=torch.float64)
    gains = by_cost(COSTS).double()
    found = expected_gain(probabilities, shares, gains=gains)
    twice = probabilities[[0, 0, 1]]
    both = [
        expected_gain(twice, functional.one_hot(torch.tensor([0, 0, label]), 3).double(), gains=gains)
        for label in (1, 2)
    ]
    torch.testing.assert_close(found, sum(both) / 2)


def test_equal_costs_reward_what_accuracy_does() -> None:
    equal = by_cost([[0.0, 3.0], [3.0, 0.0]])
    torch.testing.assert_close(equal, torch.eye(2))
    torch.testing.assert_close(torch.diag(balanced_weights(np.array([0, 1, 1, 0]), 2)), torch.eye(2))


def test_where_nothing_costs_anything_nothing_is_preferred() -> None:
    assert (by_cost([[0.0, 0.0], [0.0, 0.0]]) == 1).all()


def test_a_reward_and_a_divergence_come_to_rest_where_theory_says() -> None:
    """Without a network between, the best answer is the first one times exp(gain / kl), normalised."""
    gains, kl = by_cost(COSTS), 0.5
    before, labels = torch.tensor([[1.0, 0.0, -1.0], [0.0, 2.0, 0.5]]), torch.tensor([0, 2])
    logits = before.clone().requires_grad_()
    objective = Objective(lambda p, s: expected_gain(p, s, gains=gains), nn.Identity(), kl)
    optimizer = torch.optim.LBFGS([logits], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = objective(logits, before, labels)
        loss.backward()
        return loss

    start = closure().item()
    optimizer.step(closure)
    expected = (before + gains[labels] / kl).softmax(1)
    torch.testing.assert_close(logits.detach().softmax(1), expected, atol=1e-3, rtol=1e-3)
    # at the start there is no divergence: 1 minus the reward
    assert start == pytest.approx(float(1 - (before.softmax(1) * gains[labels]).sum(1).mean()))


def test_labels_are_shares_of_one_class() -> None:
    logits, labels = drawn(1)
    reward = rewarding_of(Finetune(reward=Reward.balanced_accuracy), np.array([0, 1, 1, 2]), CLASSES)
    objective = Objective(reward, nn.Identity(), 0.1)
    shares = functional.one_hot(labels, 3).float()
    before = torch.zeros_like(logits)
    torch.testing.assert_close(objective(logits, before, labels), objective(logits, before, shares))


@pytest.mark.parametrize("reward", [each for each in Reward if each not in (Reward.none, Reward.costs)])
def test_a_picture_without_weight_counts_for_nothing(reward: Reward) -> None:
    recipe = Finetune(reward=reward, reward_class="b", reward_abstention=0.5)
    rewarding = rewarding_of(recipe, np.array([0, 1, 2]), CLASSES)
    objective = Objective(rewarding, nn.Identity(), 0.5)
    logits, labels = drawn(2)
    shares = functional.one_hot(labels, 3).float()
    before, nothing = torch.zeros_like(logits), torch.zeros(4, 3)
    found = objective(torch.cat([logits, -logits]), torch.cat([before, before]), torch.cat([shares, nothing]))
    torch.testing.assert_close(found, objective(logits, before, shares))
    assert torch.isfinite(objective(logits, before, nothing))


def test_a_class_that_does_not_exist_is_named() -> None:
    recipe = Finetune(reward=Reward.f_beta, reward_class="bee")
    with pytest.raises(
        UserError, match=r"finetune\.reward_class = bee: no class is called so; nearest: .*\bb\b"
    ):
        require_class(recipe, CLASSES)


@pytest.mark.parametrize("reward", [Reward.f_beta, Reward.abstention])
def test_a_reward_of_whole_batches_is_refused_in_parts(reward: Reward) -> None:
    recipe = Finetune(reward=reward, reward_class="a")
    with pytest.raises(UserError, match=f"reward = {reward.name} is no mean over pictures.*not in 2 parts"):
        require_whole_batches(recipe, 2)
    require_whole_batches(recipe, 1)
    require_whole_batches(Finetune(reward=Reward.balanced_accuracy), 2)
