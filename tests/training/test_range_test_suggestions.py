"""What a range test makes of losses by rate: where it ends, and the rates that it suggests."""

import numpy as np
import pytest

from thawline.config.sections import (
    Finetune,
    Phases,
)
from thawline.training.optimization import Group
from thawline.training.range_test import (
    RangeTest,
    _until_divergence,
    in_words,
    suggestions,
)


def test_an_explosion_ends_the_test():
    losses, diverged = _until_divergence(iter([*[1.0] * 5, *[0.5] * 10, 1e6, 0.5]))
    assert diverged
    assert losses[-1] == 1e6


def test_a_loss_near_zero_may_multiply_without_diverging():
    losses, diverged = _until_divergence(iter([1.0, 0.1, *[1e-6] * 60, 1e-3, 1e-3, 0.2]))
    assert not diverged
    assert len(losses) == 65


def made_up(losses: list[float]) -> RangeTest:
    rates = tuple(10.0 ** (index - 5) for index in range(len(losses)))
    return RangeTest(rates, tuple(losses), tuple(losses), False)


def test_suggestions_are_the_steepest_descent_and_a_tenth_of_the_minimum():
    found = made_up([2.0, 2.0, 1.9, 1.0, 0.5, 3.0])
    assert found.steepest == pytest.approx(1e-2)
    assert found.tenth_of_minimum == pytest.approx(1e-2)
    assert made_up([2.0, 1.9, 1.0, 0.9, 0.8, 3.0]).steepest in (pytest.approx(1e-3), pytest.approx(1e-4))


def test_a_loss_that_still_falls_at_the_end_does_not_say_where_it_is_lowest():
    found = made_up([2.0, 2.0, 1.9, 1.0, 0.5, 0.4])
    assert found.steepest is not None
    assert found.tenth_of_minimum is None


def test_a_fall_behind_the_minimum_is_no_suggestion():
    """After the loss has exploded it may fall a long way and still be worse than before."""
    found = made_up([2.0, 1.5, 1.0, 9.0, 4.0, 3.0])
    assert found.steepest is not None
    assert found.steepest <= 1e-3


def test_a_loss_that_only_rises_suggests_nothing():
    found = made_up([1.0, 1.1, 1.2, 2.0])
    assert found.steepest is None
    assert found.tenth_of_minimum is None
    assert in_words(suggestions(found, (group("head", 1.0),), Finetune()), False).startswith(
        "the loss fell at none"
    )


def test_a_fall_smaller_than_the_scatter_of_single_steps_suggests_nothing():
    smoothed = tuple(np.linspace(0.71, 0.69, 40))
    losses = tuple(value + 0.03 * (-1) ** step for step, value in enumerate(smoothed))
    found = RangeTest(tuple(np.geomspace(1e-6, 1, 40)), losses, smoothed, False)
    assert found.steepest is None
    assert found.tenth_of_minimum is None


def group(name: str, learning_rate: float) -> Group:
    return Group(name, (), learning_rate, 0.0)


FALLING = made_up([2.0, 1.5, 0.5, 0.4, 0.6])


@pytest.mark.parametrize(
    ("groups", "recipe", "expected"),
    [
        ([("head.decayed", 1e-2), ("body.decayed", 1e-3)], {}, {"head_lr": 1.0, "body_lr": 0.1}),
        ([("head.decayed", 1e-2)], {"depth": "all"}, {"head_lr": 1.0}),
        ([("head.decayed", 1e-3), ("body.decayed", 1e-3)], {"phases": Phases.probe_first}, {"body_lr": 1.0}),
        # the last unit is frozen and the next learns at half its rate
        (
            [("head.decayed", 1e-4), ("body.a.decayed", 5e-4)],
            {"head_lr": 1e-4},
            {"head_lr": 0.2, "body_lr": 2},
        ),
    ],
)
def test_suggestions_are_rates_of_the_recipe(groups, recipe, expected):
    recipe = Finetune(**{"head_lr": 1e-2, "body_lr": 1e-3, **recipe})
    made = suggestions(FALLING, tuple(group(*each) for each in groups), recipe)
    assert made.keys() == {"steepest", "tenth_of_minimum"}
    fastest = {name: value * FALLING.steepest for name, value in expected.items()}
    assert made["steepest"] == pytest.approx(fastest)


def test_words_are_overrides_of_the_command_line():
    text = in_words({"steepest": {"head_lr": 3e-3, "body_lr": 3e-4}}, True)
    assert (
        text.splitlines()[0] == "the loss falls fastest at finetune.head_lr=3.0e-03 finetune.body_lr=3.0e-04"
    )
    assert "diverged" in text
