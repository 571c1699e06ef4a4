"""Outcomes of folds are joined, and what they say of each picture is kept."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from thawline.search.trial.outcomes import (
    Outcome,
    joined,
    load_logits,
    load_outcomes,
    mean_history,
    save_outcome,
)


def outcome(correct: list[float], memory: float = 1.0, seconds: float = 1.0) -> Outcome:
    right = np.array(correct)
    row = {"epoch": 0.0, "val_accuracy": right.mean(), "val_loss": 0.5}
    return Outcome(
        right, np.full(len(right), 0.5), [row], row, {"peak_memory_bytes": memory}, seconds, accumulate=2
    )


def test_the_folds_together_are_one_training_in_the_mean_of_their_pictures() -> None:
    parts = [outcome([1, 1, 1], memory=5, seconds=2), outcome([0], memory=7, seconds=6)]
    found = joined(parts, np.array([1.0, 1, 0, 1]), np.full(4, 0.5))
    assert (found.accuracy, found.loss) == (0.75, 0.5)
    assert found.history == [{"epoch": 0, "val_accuracy": 0.75, "val_loss": 0.5}]
    assert (found.seconds, found.trainings, found.accumulate) == (3, 2, 2)
    assert found.cost == {"peak_memory_bytes": 7}


def test_a_history_ends_with_what_the_kept_weights_achieve() -> None:
    first, second = ({"epoch": float(epoch), "val_accuracy": 1 - epoch, "val_loss": 0.5} for epoch in (0, 1))
    found = Outcome(np.ones(3), np.full(3, 0.5), [first, second], first, {}, 1.0)
    assert found.history == [first, second, {"epoch": 2.0, "val_accuracy": 1.0, "val_loss": 0.5}]


def test_the_mean_row_is_over_the_trainings_that_came_so_far() -> None:
    histories = [[{"epoch": 0.0, "loss": 1.0}, {"epoch": 1.0, "loss": 4.0}], [{"epoch": 0.0, "loss": 3.0}]]
    assert [row["loss"] for row in mean_history(histories)] == [2.0, 4.0]
    assert [row["epoch"] for row in mean_history(histories)] == [0, 1]


def test_what_was_said_is_kept_where_it_is_known(tmp_path: Path) -> None:
    told = replace(outcome([1, 1, 0]), logits=np.eye(3))
    save_outcome(tmp_path, 0, told)
    save_outcome(tmp_path, 1, outcome([1, 1, 0]))
    np.testing.assert_array_equal(load_logits(tmp_path, 0), np.eye(3))
    assert load_logits(tmp_path, 1) is None
    assert load_logits(tmp_path, 2) is None


def test_only_outcomes_that_were_kept_are_found(tmp_path: Path) -> None:
    for number, correct in [(0, [1.0, 0.0]), (2, [0.0, 0.0])]:
        save_outcome(tmp_path, number, outcome(correct))
    found, correct, losses = load_outcomes(tmp_path, [0, 1, 2])
    assert found == [0, 2]
    assert correct.tolist() == [[1, 0], [0, 0]]
    assert losses == pytest.approx(np.full((2, 2), 0.5))
