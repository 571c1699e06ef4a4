"""Which epoch is kept, and which training is given up."""

from math import inf, nan

import pytest

from thawline.training.history import (
    Row,
    TrainingDivergedError,
    best_epoch,
    history_row,
    refuse_divergence,
    refuse_divergence_at_last,
)


def rows(*validated: tuple[float, float]) -> list[Row]:
    return [history_row(epoch, 1.0, each, 1.0) for epoch, each in enumerate(validated)]


@pytest.mark.parametrize(
    ("validated", "best"),
    [
        (((0.7, 0.5), (0.9, 0.8), (0.1, 0.6)), 1),
        (((0.7, 0.8), (0.6, 0.8)), 1),
        (((0.6, 0.8), (0.6, 0.8)), 0),
        (((nan, 0.9), (0.6, 0.5), (inf, 0.8)), 1),
    ],
    ids=["accuracy", "loss", "first", "a number"],
)
def test_the_best_epoch(validated: tuple[tuple[float, float], ...], best: int) -> None:
    assert best_epoch(rows(*validated)) == best


@pytest.mark.parametrize("loss", [nan, inf])
def test_a_training_loss_that_is_no_number_is_refused_whenever_it_comes(loss: float) -> None:
    with pytest.raises(TrainingDivergedError, match=rf"training loss became {loss} in epoch 4\.\n  lower"):
        refuse_divergence(history_row(3, loss, (0.5, 0.5), 1.0))


@pytest.mark.parametrize("loss", [nan, inf])
def test_a_validation_loss_that_is_no_number_is_refused_in_what_is_kept(loss: float) -> None:
    (row,) = rows((loss, 0.5))
    refuse_divergence(row)
    with pytest.raises(TrainingDivergedError, match=rf"validation loss became {loss} in epoch 1\.\n  lower"):
        refuse_divergence_at_last(row)


def test_without_validation_pictures_nothing_is_refused() -> None:
    refuse_divergence_at_last(*rows((nan, nan)))
