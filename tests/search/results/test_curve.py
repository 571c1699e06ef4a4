"""The depth curve says how sure it is of every depth, and compares depths on the pictures they share."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests_studies import PLATEAU, STEEP, at_depth, depth_study

from thawline.depth_curve import COLUMNS, read_curve, write_curve
from thawline.search.results.curve import depth_curve

CONTRACT = [
    "depth",
    "unit",
    "n_seeds",
    "val_mean",
    "val_low",
    "val_high",
    "test_mean",
    "test_low",
    "test_high",
]
CONTRACT += ["seconds", "trainable_parameters"]


def test_a_row_for_each_depth_with_the_columns_of_the_contract_first() -> None:
    points = depth_study(np.random.default_rng(0), STEEP, seeds=3, images=60)
    table = depth_curve(points[::-1])
    assert list(table.columns) == list(COLUMNS)
    assert list(table.columns[: len(CONTRACT)]) == CONTRACT
    assert table["depth"].tolist() == [0, 1, 2, 3, 4]
    assert table["unit"].isna().tolist() == [True, False, False, False, False]
    assert table["unit"].tolist()[1:] == ["unit1", "unit2", "unit3", "unit4"]
    assert table["n_seeds"].tolist() == [3] * 5
    assert table["trainable_parameters"].tolist() == [1000, 999, 998, 997, 996]
    for row, point in zip(table.itertuples(), points, strict=True):
        assert row.val_mean == pytest.approx(point.correct.mean(), abs=1e-6)
        assert row.val_low < row.val_mean < row.val_high


def test_differences_are_to_full_fine_tuning_to_the_linear_probe_and_to_the_best() -> None:
    right = np.arange(100)
    table = depth_curve([at_depth(0, right < 80), at_depth(2, right < 90), at_depth(5, right < 60)])
    assert table["minus_full_mean"].tolist() == [0, 0.1, -0.2]
    assert table["minus_probe_mean"].tolist() == [0.2, 0.3, 0]
    assert table["minus_best_mean"].tolist() == [-0.1, 0, -0.3]
    assert (table["minus_best_high"] <= 0).all()


def test_a_reference_that_was_not_tried_leaves_its_columns_empty() -> None:
    points = depth_study(np.random.default_rng(0), STEEP, seeds=2, images=30)[1:]
    table = depth_curve(points, probe=9)
    for reference in ("full", "probe"):
        assert table.filter(like=f"minus_{reference}").isna().all(axis=None)
    assert table.filter(like="minus_best").notna().all(axis=None)


def test_pictures_hard_at_every_depth_cancel_in_the_difference() -> None:
    right = np.random.default_rng(0).random(200) < 0.5
    better = right.copy()
    better[np.flatnonzero(~right)[:10]] = True
    first = depth_curve([at_depth(0, better), at_depth(1, right)]).iloc[0]
    assert first["minus_probe_mean"] == pytest.approx(0.05)
    assert first["minus_probe_low"] > 0
    assert first["minus_probe_high"] - first["minus_probe_low"] < (first["val_high"] - first["val_low"]) / 2


def test_pictures_of_one_object_widen_the_interval() -> None:
    objects = np.repeat(np.arange(20), 10)
    points = [at_depth(0, objects % 2 == 0), at_depth(1, objects % 4 == 0)]
    alone, grouped = depth_curve(points).iloc[0], depth_curve(points, objects).iloc[0]
    for name in ("val", "minus_probe"):
        widths = [row[f"{name}_high"] - row[f"{name}_low"] for row in (grouped, alone)]
        assert widths[0] > 2 * widths[1]


def test_all_right_is_no_certainty() -> None:
    row = depth_curve([at_depth(0, np.ones((5, 30))), at_depth(1, np.ones((5, 30)))]).iloc[0]
    assert (row["val_mean"], row["val_high"]) == (1, 1)
    assert 0.85 < row["val_low"] < 0.9
    assert row["minus_probe_low"] < row["minus_probe_mean"] == 0 < row["minus_probe_high"]


def coverage(curve: tuple[float, ...], seeds: int, images: int, studies: int) -> tuple[float, float]:
    """The shares of intervals that hold the true accuracy, and the true difference to depth 0."""
    generator = np.random.default_rng([seeds, images])
    accuracy, difference = [], []
    for _ in range(studies):
        table = depth_curve(depth_study(generator, curve, seeds, images))
        truth = np.array(curve)
        gap = truth - truth[0]
        accuracy.append((table["val_low"] <= truth) & (table["val_high"] >= truth))
        difference.append(((table["minus_full_low"] <= gap) & (table["minus_full_high"] >= gap))[1:])
    return float(np.mean(accuracy)), float(np.mean(difference))


def test_nineteen_of_twenty_intervals_hold_the_truth() -> None:
    assert min(coverage((0.98, 0.9, 0.8), seeds=5, images=100, studies=60)) >= 0.93


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "images"), [(3, 50), (3, 200), (5, 100), (5, 1000)])
def test_nineteen_of_twenty_intervals_hold_the_truth_for_any_study(seeds: int, images: int) -> None:
    assert min(coverage(PLATEAU, seeds, images, studies=200)) >= 0.93


@given(st.lists(st.integers(0, 40), min_size=0, max_size=5, unique=True), st.integers(1, 3))
@settings(max_examples=10, deadline=None)
def test_a_curve_is_read_as_it_was_written(depths: list[int], seeds: int) -> None:
    generator = np.random.default_rng(seeds)
    points = [at_depth(depth, generator.random((seeds, 9)) < 0.8, seconds=1 / 3) for depth in depths]
    curve = depth_curve(points) if points else pd.DataFrame(columns=list(COLUMNS))
    with TemporaryDirectory() as folder:
        write_curve(Path(folder) / "curve.csv", curve)
        found = read_curve(Path(folder) / "curve.csv")
        write_curve(Path(folder) / "again.csv", found)
        assert (Path(folder) / "again.csv").read_bytes() == (Path(folder) / "curve.csv").read_bytes()
    assert tuple(found.columns) == COLUMNS
    pd.testing.assert_frame_equal(found, curve, check_dtype=bool(depths))
    assert [unit for unit in found["unit"] if unit is not None] == [f"unit{d}" for d in sorted(depths) if d]


def test_a_unit_called_like_a_missing_value_stays_a_name(tmp_path: Path) -> None:
    curve = depth_curve([replace(at_depth(1, np.ones(4)), unit="NA")])
    write_curve(tmp_path / "curve.csv", curve)
    assert list(read_curve(tmp_path / "curve.csv")["unit"]) == ["NA"]
