"""Features of several cuts become one table of columns, in which no cut outweighs another."""

import numpy as np
import pytest

from thawline.training.solve.features import CutFeatures, Pool, pooled, rotated, standardised


def features(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(3, 2, shape).astype(np.float32)


def test_a_map_is_pooled_over_its_positions_each_way_in_turn() -> None:
    values = features(5, 3, 4, 2)
    found = CutFeatures(values, (Pool.max, Pool.mean)).pooled()
    assert np.array_equal(found[:, :3], values.max((2, 3)))
    assert found[:, 3:] == pytest.approx(values.mean((2, 3)))


def test_columns_of_all_cuts_stand_side_by_side() -> None:
    assert pooled([CutFeatures(features(5, 4)), CutFeatures(features(5, 3, 2, 2))]).shape == (5, 7)


def test_one_cut_is_plainly_standardised_and_a_constant_column_is_zero() -> None:
    values = features(50, 4)
    values[:, 2] = 0.1
    rows = standardised([CutFeatures(values)]).rows
    assert rows.mean(0) == pytest.approx(np.zeros(4), abs=1e-12)
    assert rows.std(0) == pytest.approx([1, 1, 0, 1])


def test_every_cut_has_the_same_total_variance_whatever_its_channels() -> None:
    variances = standardised([CutFeatures(features(50, 9)), CutFeatures(1e3 * features(50, 3))]).rows.var(0)
    assert variances[:9].sum() == pytest.approx(6)
    assert variances[9:].sum() == pytest.approx(6)


@pytest.mark.parametrize("shape", [(6, 20), (20, 6)])
def test_rotating_loses_nothing_and_needs_no_more_axes_than_there_are_pictures(
    shape: tuple[int, int],
) -> None:
    rows = standardised([CutFeatures(features(*shape))]).rows
    coordinates, axes = rotated(rows)
    assert coordinates @ axes == pytest.approx(rows, abs=1e-10)
    assert axes @ axes.T == pytest.approx(np.eye(len(axes)), abs=1e-10)
    assert len(axes) <= 6


@pytest.mark.parametrize("values", [np.zeros(3), np.zeros(())])
def test_features_without_columns_are_refused(values: np.ndarray) -> None:
    with pytest.raises(ValueError, match="no columns"):
        CutFeatures(values)
