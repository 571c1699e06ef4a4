"""Validation accuracy against the number of frozen units, as the search saw it."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from thawline.report.figures.style import LIGHT, WIDTH, Picture, percent_axis
from thawline.report.findings import FINETUNED, Findings
from thawline.report.wording import coverage
from thawline.search.results.wording import ranges
from thawline.statistics.intervals import proportion_interval
from thawline.wording import counted, percent

_LABELS = 24
"""Depths above which not each gets a label."""


@dataclass(frozen=True)
class DepthCurve:
    """`trials` are the complete ones; `best` has one row per depth, ascending, with the Wilson interval
    `low`..`high` of its accuracy on the validation pictures; `chosen` is the row of `best` whose trial
    became the recipe."""

    trials: pd.DataFrame
    best: pd.DataFrame
    chosen: int

    @property
    def top(self) -> dict[str, float]:
        """The chosen row's `depth`, `value`, `low` and `high`."""
        return {name: float(self.best[name].iloc[self.chosen]) for name in ("depth", "value", "low", "high")}

    @property
    def equals(self) -> list[int]:
        """Depths whose best trial is not below the chosen one's interval."""
        return list(self.best.loc[self.best["value"] >= self.top["low"], "depth"])


def depth_curve(findings: Findings) -> DepthCurve | None:
    """Find the best trial of each depth; None without a search over at least two depths."""
    ranked = findings.ranked(FINETUNED)
    pictures, _ = findings.validated_on
    if ranked is None or pictures == 0:
        return None
    best = ranked.drop_duplicates("depth").sort_values("depth").reset_index(drop=True)
    if len(best) < 2:
        return None
    intervals = [proportion_interval(value, pictures, findings.confidence) for value in best["value"]]
    best = best.assign(low=[low for low, _ in intervals], high=[high for _, high in intervals])
    chosen = best.index[best["depth"] == findings.recipes[FINETUNED].depth]
    first = best.index[best["number"] == ranked["number"].iloc[0]]
    return DepthCurve(ranked, best, int(chosen[0] if len(chosen) else first[0]))


def accuracy_by_depth(findings: Findings) -> Picture | None:
    """Draw the best trial of each depth; None where fresh seeds were measured, which say more."""
    curve = depth_curve(findings) if findings.curve is None else None
    if curve is None:
        return None
    chosen, (images, folds) = curve.top, findings.validated_on
    pictures = counted(images, "validation picture" if folds == 1 else "cross-validated picture")
    others = [depth for depth in curve.equals if depth != chosen["depth"]]
    if others:
        many = "trials lie" if len(others) > 1 else "trial lies"
        rest = f"with {ranges(others)} frozen the best {many} within its {coverage(findings)} interval."
    else:
        rest = f"no other depth reaches its {coverage(findings)} interval."
    sentence = (
        f"With {counted(int(chosen['depth']), 'unit')} frozen, {percent(chosen['value'])} of {pictures} "
        f"are right; {rest}"
    )

    def draw() -> Figure:
        figure = Figure(figsize=(WIDTH, 4.2))
        axes = figure.add_subplot()
        _draw_curve(axes, curve)
        label_depths(axes, curve.best, findings.units)
        axes.set_xlabel("frozen units, with the name of the last one")
        axes.set_ylabel("validation accuracy")
        percent_axis(axes.yaxis, None)
        figure.legend(loc="outside lower center", ncols=5, columnspacing=1.4, handletextpad=0.4)
        return figure

    return Picture("accuracy_by_depth", sentence, draw)


def _draw_curve(axes: Axes, curve: DepthCurve) -> None:
    trials, best, color = curve.trials, curve.best, LIGHT.contenders[FINETUNED]
    chosen = curve.top
    floor = _floor(best)
    seen = trials["value"] >= floor
    axes.axhspan(chosen["low"], chosen["high"], color=color, alpha=0.10, lw=0, label="interval of the chosen")
    axes.scatter(
        trials["depth"][seen], trials["value"][seen], s=14, color=LIGHT.muted, lw=0, label="complete trials"
    )
    if not seen.all():
        depths = trials["depth"][~seen]
        heights = np.full(len(depths), floor)
        axes.scatter(depths, heights, s=16, marker="v", color=LIGHT.muted, lw=0, label="below the axis")
    errors = [best["value"] - best["low"], best["high"] - best["value"]]
    axes.errorbar(
        best["depth"], best["value"], errors, color=color, fmt="-o", ms=5, lw=1.6, elinewidth=0.9,
        capsize=2.5, label="best of its depth",
    )  # fmt: skip
    axes.plot(
        chosen["depth"], chosen["value"], "o", ms=12, mfc="none", mec=LIGHT.ink, mew=1.4, label="chosen"
    )
    axes.set_ylim(floor - 0.03 * (1 - floor), min(1.0, best["high"].max()) + 0.02 * (1 - floor))


def _floor(best: pd.DataFrame) -> float:
    """Return where the axis begins: failed learning rates far below must not flatten the curve."""
    lowest, highest = best["low"].min(), best["high"].max()
    return max(0.0, lowest - 0.15 * (highest - lowest))


def label_depths(axes: Axes, rows: pd.DataFrame, units: int | None) -> None:
    """Name the `depth` of each row by its `unit`, of many rows only some; `units` is the depth of all."""
    step = -(-len(rows) // _LABELS)
    shown = rows.iloc[::step]
    names = [
        f"{depth}  {unit}{' (all)' if depth == units else ''}" if depth else "0 (none)"
        for depth, unit in zip(shown["depth"], shown["unit"], strict=True)
    ]
    axes.set_xticks(shown["depth"], names, rotation=40, ha="right", rotation_mode="anchor")
    axes.grid(visible=False, axis="x")
