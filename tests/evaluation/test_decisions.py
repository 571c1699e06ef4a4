"""Decisions for a reward: the best by enumeration, and what they come to."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, fbeta_score

from thawline.config.recipe.rewards import Reward
from thawline.config.sections import Finetune
from thawline.evaluation.decisions import (
    ARMS,
    Answers,
    Asked,
    added,
    arms,
    best_decision,
    best_threshold,
    compared,
    likeliest,
)

CLASSES = ("a", "b", "c")
COUNTS = np.array([20, 4, 16])
COSTS = [[0.0, 1.0, 4.0], [5.0, 0.0, 1.0], [2.0, 2.0, 0.0]]
RECIPES = {
    "costs": Finetune(reward=Reward.costs, reward_costs=COSTS),
    "balanced": Finetune(reward=Reward.balanced_accuracy),
    "f2": Finetune(reward=Reward.f_beta, reward_class="b", reward_beta=2.0),
    "abstention": Finetune(reward=Reward.abstention, reward_abstention=0.25),
}


def said(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet((1, 1, 1), count)


def asked(test: np.ndarray, held: int = 0, seed: int = 1) -> Asked:
    """Held-out pictures whose labels are drawn from what is said of them: calibrated."""
    told = said(held, seed) if held else test[:0]
    random = np.random.default_rng(seed)
    return Asked(test, told, np.array([random.choice(3, p=row) for row in told], int))


def test_the_decision_costs_least_in_expectation() -> None:
    probabilities = said(50)
    found = best_decision(RECIPES["costs"], COUNTS, CLASSES, asked(probabilities)).decisions
    expected = [min(range(3), key=lambda d: row @ np.array(COSTS)[:, d]) for row in probabilities]
    assert found.tolist() == expected


def test_for_balanced_accuracy_a_rare_class_counts_for_more() -> None:
    probabilities = np.array([[0.7, 0.2, 0.1]])
    found = best_decision(RECIPES["balanced"], COUNTS, CLASSES, asked(probabilities)).decisions
    assert found.tolist() == [1]
    equal = best_decision(RECIPES["balanced"], np.array([9, 9, 9]), CLASSES, asked(probabilities))
    assert equal.decisions.tolist() == [0]


@given(st.lists(st.floats(0.01, 0.99), min_size=1, max_size=6, unique=True), st.sampled_from([0.5, 1.0, 2.0]))
def test_no_other_choice_of_pictures_has_a_larger_expected_f_beta(chances: list[float], beta: float) -> None:
    """Where hits and pictures of the class are as many as expected, which they are of many pictures."""
    p = np.array(chances)

    def worth(called: np.ndarray) -> float:
        return float((1 + beta**2) * p[called].sum() / (beta**2 * p.sum() + called.sum()))

    best = max(worth(np.array(each)) for each in product((False, True), repeat=len(p)) if any(each))
    assert worth(p >= best_threshold(p, beta)) == pytest.approx(best)


def test_probabilities_are_calibrated_before_anything_is_decided() -> None:
    """A model that is far too sure of what it gets wrong decides as one that doubts."""
    doubtful = np.array([[0.6, 0.4, 0.0]])
    sure = doubtful**20 / (doubtful**20).sum()
    held, labels = np.repeat(sure, 50, axis=0), np.repeat([0, 1], [30, 20])
    costs = Finetune(reward=Reward.costs, reward_costs=[[0, 1, 1], [5, 0, 1], [1, 1, 0]])
    assert likeliest(sure).decisions.tolist() == [0]
    assert best_decision(costs, COUNTS, CLASSES, Asked(sure, held, labels)).decisions.tolist() == [1]


@pytest.mark.parametrize("name", RECIPES)
def test_what_pictures_add_has_the_mean_that_is_meant(name: str) -> None:
    random = np.random.default_rng(3)
    labels, decisions, certainty = random.integers(0, 3, 40), random.integers(0, 3, 40), random.random(40)
    found = added(RECIPES[name], labels, CLASSES, Answers(decisions, certainty))
    surest = np.argsort(-certainty)[:30]
    expected = {
        "costs": np.mean([COSTS[truth][decision] for truth, decision in zip(labels, decisions, strict=True)]),
        "balanced": balanced_accuracy_score(labels, decisions),
        "f2": fbeta_score(labels, decisions, beta=2.0, labels=[1], average=None)[0],
        "abstention": (labels == decisions)[surest].mean(),
    }
    assert found.shape == (40,)
    assert found.mean() == pytest.approx(expected[name])


@pytest.mark.parametrize("name", RECIPES)
def test_the_same_model_twice_differs_by_nothing(name: str) -> None:
    """The null case: a phase that changed nothing is said to have changed nothing."""
    model, labels = asked(said(60), held=30), np.random.default_rng(5).integers(0, 3, 60)
    found = arms(RECIPES[name], COUNTS, CLASSES, model, model)
    told = compared(RECIPES[name], labels, CLASSES, [found, found], np.arange(60), 0.95)
    assert tuple(told["arms"]) == ARMS
    assert told["arms"]["reward"] == told["arms"]["likelihood"]
    assert told["differences"]["reward_decided"]["mean"] == 0
    for value in told["differences"].values():
        assert value["low"] <= value["mean"] <= value["high"]


def test_where_costs_are_equal_the_best_decision_is_the_likeliest_class() -> None:
    equal = Finetune(reward=Reward.costs, reward_costs=(1 - np.eye(3)).tolist())
    model = asked(said(80), held=40)
    found = arms(equal, COUNTS, CLASSES, model, model)
    assert found["likelihood"].decisions.tolist() == found["likelihood_decided"].decisions.tolist()
