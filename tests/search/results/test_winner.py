"""What is said of the winner: corrected by the choice that the study makes, as `evaluate` is set."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import FrozenTrial

from thawline.config.sections import Config, Evaluate
from thawline.search.results.winner import by_cost_then_loss, corrected_accuracy, selected, simplest_trial
from thawline.search.study.study import best_trial
from thawline.search.trial.outcomes import Outcome, save_outcome
from thawline.statistics.selection_bias import corrected
from thawline.training.folds import Validation


def finished(correct: np.ndarray, losses: np.ndarray, costs: Sequence[float] = ()) -> optuna.Study:
    """A study whose trials said this of the pictures, (T, N) each, at these costs."""
    study = optuna.create_study(directions=["maximize", "minimize"] if len(costs) else ["maximize"])
    for number, (right, loss) in enumerate(zip(correct, losses, strict=True)):
        values = [float(right.mean()), *costs[number : number + 1]]
        attributes = {"val_loss": float(loss.mean())}
        study.add_trial(optuna.trial.create_trial(values=values, user_attrs=attributes))
    return study


def validating_on(images: int, evaluate: Evaluate | None = None) -> Any:
    return SimpleNamespace(
        config=Config(evaluate=evaluate or Evaluate(resamples=60)),
        groups=None,
        images=images,
        validation=Validation("holdout", 1, ""),
    )


def best_of(study: optuna.Study) -> FrozenTrial:
    best = best_trial(study)
    assert best is not None
    return best


@pytest.mark.parametrize(("confidence", "resamples"), [(0.5, 2000), (0.95, 60)])
def test_the_correction_is_made_as_configured(tmp_path: Path, confidence: float, resamples: int) -> None:
    generator = np.random.default_rng(0)
    correct = (generator.random((5, 40)) < 0.7).astype(float)
    losses = generator.random((5, 40))
    study = finished(correct, losses)
    for number, (right, loss) in enumerate(zip(correct, losses, strict=True)):
        save_outcome(tmp_path, number, Outcome(right, loss, [], {}, {}, 1.0))
    validating = validating_on(40, Evaluate(confidence=confidence, resamples=resamples))
    told = corrected_accuracy(study, best_of(study), None, validating, tmp_path, seed=3)
    expected = corrected(correct, losses=losses, confidence=confidence, resamples=resamples, seed=3)
    assert told is not None
    assert (told["mean"], told["low"], told["high"]) == expected


numbers = st.integers(0, 2)


@given(st.integers(0, 1000), st.lists(numbers, min_size=1, max_size=6), st.sampled_from([1.0, 1e3]))
def test_of_two_objectives_ties_go_to_the_lower_cost_and_then_to_the_lower_loss(
    seed: int, costs: list[int], scale: float
) -> None:
    generator = np.random.default_rng(seed)
    correct = (generator.random((len(costs), 2)) < 0.5).astype(float)
    losses = scale * generator.integers(0, 3, (len(costs), 2)).astype(float)
    study = finished(correct, losses, [1e9 * cost for cost in costs])
    broken = by_cost_then_loss(1e9 * np.array(costs), losses)
    accuracies, penalties = correct.mean(1), broken.mean(1)
    first = min(range(len(costs)), key=lambda trial: (-accuracies[trial], penalties[trial], trial))
    assert first == best_of(study).number


def test_equal_costs_leave_the_choice_to_the_pictures_that_were_drawn() -> None:
    broken = by_cost_then_loss(np.array([5.0, 5.0, 1.0]), np.array([[0.0, 9.0], [9.0, 0.0], [9.0, 9.0]]))
    assert list(broken[:2] @ [2, 0] < broken[1] @ [2, 0]) == [True, False]
    assert list(broken[:2] @ [0, 2] < broken[0] @ [0, 2]) == [False, True]
    assert (broken[2] < broken[:2]).all()


def kept(folder: Path, correct: np.ndarray, depths: Sequence[int]) -> optuna.Study:
    """A study of trials at these depths whose outcomes (T, N) are in `folder`."""
    study = optuna.create_study(direction="maximize")
    for number, (right, depth) in enumerate(zip(correct, depths, strict=True)):
        attributes = {"val_loss": 1.0, "depth": depth}
        study.add_trial(optuna.trial.create_trial(values=[float(right.mean())], user_attrs=attributes))
        save_outcome(folder, number, Outcome(right, 1 - right, [], {}, {}, 1.0))
    return study


def test_the_most_frozen_trial_is_selected_that_is_not_told_from_the_best(tmp_path: Path) -> None:
    # right on 45, 44 and 30 of 50 pictures, of which the first two differ on three
    correct = (np.arange(50) < np.array([[45], [43], [30]])).astype(float)
    correct[1, 49] = 1
    study = kept(tmp_path, correct, [2, 5, 9])
    assert best_of(study).number == 0
    taken = simplest_trial(study, None, None, tmp_path)
    assert taken is not None
    assert taken.number == 1
    told = selected(study, taken, None, validating_on(50), None)
    assert told["best"] == {"trial": 0, "val_accuracy": 0.9}
    assert told["val_accuracy"] == 0.88


def test_where_outcomes_are_gone_the_best_trial_is_selected(tmp_path: Path) -> None:
    correct = (np.arange(50) < np.array([[45], [44]])).astype(float)
    study = kept(tmp_path, correct, [2, 5])
    (tmp_path / "1.npz").unlink()
    taken = simplest_trial(study, None, None, tmp_path)
    assert taken == best_of(study)
