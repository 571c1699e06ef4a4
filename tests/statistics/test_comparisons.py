"""The cheapest of what could be the best."""

import numpy as np
import pytest

from thawline.statistics.comparisons import cheapest_alike

RANDOM = np.random.default_rng(0)
COSTS = np.array([3.0, 1.0, 2.0])


def answers(*accuracies: float, pictures: int = 300) -> np.ndarray:
    luck = RANDOM.random(pictures)
    return np.stack([(luck < accuracy).astype(float) for accuracy in accuracies])


def test_of_equals_the_cheapest_is_taken() -> None:
    chosen, alike = cheapest_alike(answers(0.8, 0.8, 0.8), COSTS, np.arange(300))
    assert chosen == 1
    assert alike.all()


def test_of_equals_that_cost_the_same_the_first_is_taken() -> None:
    assert cheapest_alike(answers(0.8, 0.8), np.ones(2), np.arange(300))[0] == 0


def test_what_is_clearly_better_is_taken_whatever_it_costs() -> None:
    chosen, alike = cheapest_alike(answers(0.9, 0.6, 0.6), COSTS, np.arange(300))
    assert chosen == 0
    assert alike.tolist() == [True, False, False]


def test_few_groups_tell_less_than_many_pictures() -> None:
    correct = answers(0.9, 0.8, 0.5)
    assert not cheapest_alike(correct, COSTS, np.arange(300))[1][1]
    assert cheapest_alike(correct, COSTS, np.sort(np.arange(300) % 3))[1][1]


@pytest.mark.parametrize(("tolerance", "expected"), [(np.inf, 1), (0.01, 0)])
def test_what_measured_worse_than_the_tolerance_is_left_out(tolerance: float, expected: int) -> None:
    correct = answers(0.82, 0.79, 0.4, pictures=60)
    assert cheapest_alike(correct, COSTS, np.arange(60), tolerance=tolerance)[0] == expected
