"""depth_curve.csv: its columns, and how it is written and read."""

from pathlib import Path

import pandas as pd

from thawline.artifacts import write_table

COLUMNS = (
    *("depth", "unit", "n_seeds", "val_mean", "val_low", "val_high", "test_mean", "test_low", "test_high"),
    *("seconds", "trainable_parameters"),
    *("minus_full_mean", "minus_full_low", "minus_full_high"),
    *("minus_probe_mean", "minus_probe_low", "minus_probe_high"),
    *("minus_best_mean", "minus_best_low", "minus_best_high"),
)
"""Accuracies and their differences in 0..1 and -1..1; seconds of one fine-tuning."""


def write_curve(path: Path, curve: pd.DataFrame) -> None:
    """Write `curve` with `COLUMNS`; what is not known is an empty cell. No rows: the header alone."""
    write_table(path, curve.reindex(columns=list(COLUMNS)))


def read_curve(path: Path) -> pd.DataFrame:
    """Read what `write_curve` wrote; `unit` is None where it is not known."""
    curve = pd.read_csv(path, encoding="utf-8", dtype={"unit": object}, keep_default_na=False, na_values=[""])
    return curve.assign(unit=curve["unit"].where(curve["unit"].notna(), None))
