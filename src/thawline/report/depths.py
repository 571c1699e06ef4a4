"""The table of the depth curve."""

import math

import pandas as pd

from thawline.report.findings import Findings
from thawline.wording import amount, percent_with_range, points_with_range


def tested(findings: Findings) -> bool:
    """Tell if any depth was measured on the test pictures."""
    return findings.curve is not None and bool(findings.curve["test_mean"].notna().any())


def rows(findings: Findings) -> list[dict[str, str]]:
    """Return a row's cells for each depth; no rows where no depth curve was made."""
    if findings.curve is None:
        return []
    recommended = findings.recommendation.get("depth")
    return [_row(row, int(row["depth"]) == recommended) for _, row in findings.curve.iterrows()]


def _row(row: pd.Series, recommended: bool) -> dict[str, str]:
    depth = str(int(row["depth"]))
    return {
        "depth": f"**{depth}**" if recommended else depth,
        "unit": row["unit"] if isinstance(row["unit"], str) else "–",
        "seeds": str(int(row["n_seeds"])),
        "validation": _share(row, "val"),
        "test": _share(row, "test"),
        "minus_best": _difference(row),
        "seconds": f"{row['seconds']:.1f}",
        "parameters": amount(row["trainable_parameters"]),
    }


def _share(row: pd.Series, name: str) -> str:
    interval = {end: float(row[f"{name}_{end}"]) for end in ("mean", "low", "high")}
    return "–" if math.isnan(interval["mean"]) else percent_with_range(interval)


def _difference(row: pd.Series) -> str:
    interval = {end: float(row.get(f"minus_best_{end}", math.nan)) for end in ("mean", "low", "high")}
    if math.isnan(interval["mean"]):
        return "–"
    return points_with_range(interval) if any(interval.values()) else "the best"
