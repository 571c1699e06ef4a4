"""Accuracy at every depth with intervals, as fresh seeds showed it, and the recommended depth."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from thawline.answer import validated
from thawline.report.figures.depth import label_depths
from thawline.report.figures.style import LIGHT, WIDTH, Picture, percent_axis
from thawline.report.findings import FINETUNED, Findings
from thawline.search.results.wording import ranges
from thawline.wording import counted, percent

_ASIDE = 0.12
"""How far validation and test stand left and right of their depth."""


def measured_by_depth(findings: Findings) -> Picture | None:
    """Draw the accuracy of fresh seeds at each depth; None where no depth curve was made."""
    curve, recommended = findings.curve, findings.recommendation
    if curve is None or "depth" not in recommended:
        return None
    alike = sorted(recommended.get("indistinguishable_depths") or [recommended["depth"]])

    def draw() -> Figure:
        figure = Figure(figsize=(WIDTH, 4.4))
        axes = figure.add_subplot()
        _shade(axes, curve, alike)
        _draw_curve(axes, curve)
        _mark(axes, curve, recommended["depth"])
        label_depths(axes, curve, findings.units)
        axes.set_xlabel("frozen units, with the name of the last one")
        axes.set_ylabel("accuracy")
        percent_axis(axes.yaxis, None)
        handles, _ = axes.get_legend_handles_labels()
        if len(alike) > 1:
            patch = Patch(color=LIGHT.contenders[FINETUNED], alpha=0.12, lw=0)
            patch.set_label("indistinguishable on validation")
            handles.append(patch)
        figure.legend(
            handles=handles, loc="outside lower center", ncols=4, columnspacing=1.4, handletextpad=0.4
        )
        return figure

    return Picture("accuracy_by_depth", _sentence(findings, curve, alike), draw)


def _sentence(findings: Findings, curve: pd.DataFrame, alike: list[int]) -> str:
    depth = int(findings.recommendation["depth"])
    pictures = findings.recommendation.get("pictures")
    called = validated(findings.recipes[FINETUNED].selected or {})
    on = counted(int(pictures), called) if pictures else f"the {called}s"
    row = curve[curve["depth"] == depth]
    start = f"With {counted(depth, 'unit')} frozen, as recommended, "
    right = f"{percent(row['val_mean'].iloc[0])} of {on} are right" if len(row) else f"on {on}"
    if len(curve) == 1:
        return f"{start}{right}; no other depth was tried."
    if len(alike) == 1:
        return f"{start}{right}; chance does not explain its lead over the other depths."
    return f"{start}{right}; {ranges(alike)} frozen units are indistinguishable."


def _shade(axes: Axes, curve: pd.DataFrame, alike: list[int]) -> None:
    """Draw a stripe behind each depth that could be the best, as wide as the way to its neighbours."""
    depths = list(curve["depth"])
    for position, depth in enumerate(depths):
        if depth not in alike or len(alike) == 1:
            continue
        left = depths[position - 1] if position else depth - 1
        right = depths[position + 1] if position + 1 < len(depths) else depth + 1
        axes.axvspan(
            (left + depth) / 2, (depth + right) / 2, color=LIGHT.contenders[FINETUNED], alpha=0.12, lw=0
        )


def _draw_curve(axes: Axes, curve: pd.DataFrame) -> None:
    tested = curve["test_mean"].notna().any()
    parts = [("val", "validation", LIGHT.contenders[FINETUNED], "o", -_ASIDE if tested else 0.0)]
    if tested:
        parts.append(("test", "test", LIGHT.muted, "D", _ASIDE))
    for name, text, color, marker, aside in parts:
        mean, low, high = (curve[f"{name}_{end}"] for end in ("mean", "low", "high"))
        axes.errorbar(
            curve["depth"] + aside, mean, [(mean - low).clip(lower=0), (high - mean).clip(lower=0)],
            color=color, fmt=f"-{marker}", ms=4.5, lw=1.4, elinewidth=0.9, capsize=2.5, label=text,
        )  # fmt: skip


def _mark(axes: Axes, curve: pd.DataFrame, depth: int) -> None:
    row = curve[curve["depth"] == depth]
    aside = -_ASIDE if curve["test_mean"].notna().any() else 0.0
    axes.plot(
        row["depth"] + aside, row["val_mean"], "o", ms=12, mfc="none", mec=LIGHT.ink, mew=1.4,
        ls="", label="recommended",
    )  # fmt: skip
