"""Features of several cuts become one table of columns, in which no cut outweighs another."""

import numpy as np
import pytest

from thawline.training.solve.features import rotated, standardised


def features(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(3, 2, shape).astype(np.float32)


def test_one_cut_is_plainly_standardised_and_a_constant_column_is_zero() -> None:
    values = features(50, 4)
    values[:, 2] = 0.1
    rows = standardised([values]).rows
    assert rows.mean(0) == pytest.approx(np.zeros(4), abs=1e-12)
    assert rows.std(0) == pytest.approx([1, 1, 0, 1])


def test_every_cut_has_the_same_total_variance_whatever_its_channels() -> None:
    variances = standardised([features(50, 9), 1e3 * features(50, 3)]).rows.var(0)
    assert variances[:9].sum() == pytest.approx(6)
    assert variances[9:].sum() == pytest.approx(6)


@pytest.mark.parametrize("shape", [(6, 20), (20, 6)])
def test_rotating_loses_nothing_and_needs_no_more_axes_than_there_are_pictures(
    shape: tuple[int, int],
) -> None:
    rows = standardised([features(*shape)]).rows
    coordinates, axes = rotated(rows)
    assert coordinates @ axes == pytest.approx(rows, abs=1e-10)
    assert axes @ axes.T == pytest.approx(np.eye(len(axes)), abs=1e-10)
    assert len(axes) <= 6
