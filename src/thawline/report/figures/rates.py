"""The learning rates the search tried, and the accuracy of each."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator

from thawline.config.recipe.words import rate_words
from thawline.report.figures.style import (
    LIGHT,
    WIDTH,
    Picture,
    percent_axis,
    rate_axis,
    value_bar,
    value_scale,
)
from thawline.report.findings import FINETUNED, NAMES, Findings
from thawline.wording import counted, listed, rate

_SHAPES = {"complete": "o", "pruned": "v", "failed": "X"}
_NARROW = 0.02
"""Half the height of an axis of accuracies that hardly differ."""


def learning_rates(findings: Findings) -> Picture | None:
    """Draw a map of head and body rate for the fine-tuned contender, a curve over the one rate of each
    other, and of one whose heads were solved; None where no rate was searched."""
    searched = {name: _searched(table) for name, table in findings.trials.items()}
    studies = {name: findings.trials[name] for name, rates in searched.items() if rates}
    if not studies:
        return None

    def draw() -> Figure:
        mapped = "head_lr" in searched.get(FINETUNED, ())
        others = [name for name in studies if name != FINETUNED or not mapped]
        figure = Figure(figsize=(WIDTH, 3.9))
        widths = [1.7] * mapped + [1.0] * len(others)
        panels = list(figure.subplots(1, len(widths), width_ratios=widths, squeeze=False)[0])
        if mapped:
            _draw_map(figure, panels.pop(0), studies[FINETUNED])
        for axes, name in zip(panels, others, strict=True):
            _draw_rate(axes, studies[name], name, searched[name][0])
        _legend(figure, list(studies.values()))
        return figure

    return Picture("learning_rates", _sentence(findings, studies), draw)


def _searched(trials: pd.DataFrame) -> list[str]:
    """Return the columns of the rates that trials with a value had: a solved head has none of its own."""
    measured = trials[trials["value"].notna()]
    return [name for name in ("head_lr", "body_lr") if measured[name].notna().any()]


def _sentence(findings: Findings, studies: dict[str, pd.DataFrame]) -> str:
    parts = []
    for name in studies:
        ranked = findings.ranked(name)
        if ranked is None or ranked.empty:
            continue
        best = ranked.iloc[0]
        parts.append(f"{_rates(best, *rate_words(findings.recipes[name].recipe))} for {NAMES[name]}")
    tried = counted(sum(len(table) for table in studies.values()), "trial")
    if not parts:
        return f"None of {tried} was trained to its end."
    return f"Among {tried}, the best learning rates were {listed(parts)}."


def _rates(trial: pd.Series, head: str, body: str) -> str:
    if pd.isna(trial["body_lr"]):
        return "none (a solved head)" if pd.isna(trial["head_lr"]) else rate(trial["head_lr"])
    own = f"{rate(trial['body_lr'])} ({body})"
    return own if pd.isna(trial["head_lr"]) else f"{rate(trial['head_lr'])} ({head}) and {own}"


def _draw_map(figure: Figure, axes: Axes, trials: pd.DataFrame) -> None:
    values = trials["value"].dropna()
    scale = value_scale(values)
    edge = _beside(trials["body_lr"])
    for state, shape in _SHAPES.items():
        part = trials[trials["state"] == state]
        style: dict[str, Any] = {"marker": shape, "s": 52, "edgecolor": LIGHT.muted, "linewidth": 0.7}
        if part["value"].notna().any():
            style |= {"c": part["value"].fillna(values.min()), "cmap": LIGHT.values, "norm": scale}
        else:
            style |= {"color": LIGHT.background}
        axes.scatter(part["body_lr"].fillna(edge), part["head_lr"], **style)
    axes.set(
        xscale="log", yscale="log", xlabel="learning rate of the body", ylabel="learning rate of the head"
    )
    rate_axis(axes.xaxis)
    rate_axis(axes.yaxis)
    if trials["body_lr"].isna().any():
        _mark_frozen(axes, edge)
    axes.set_title(NAMES[FINETUNED])
    value_bar(figure, axes, scale, "validation accuracy")


def _beside(body: pd.Series) -> float:
    """Return where on the body's axis trials stand that train no body parameter: left of all others."""
    return float(body.min() / 5) if body.notna().any() else 1e-5


def _mark_frozen(axes: Axes, edge: float) -> None:
    axes.axvline(edge * 2.2, color=LIGHT.muted, lw=0.9, ls=":")
    axes.set_xlim(left=edge / 2)
    axes.xaxis.labelpad = 9
    axes.text(
        edge, -0.025, "all\nfrozen", transform=axes.get_xaxis_transform(), ha="center", va="top",
        fontsize=7.5, linespacing=0.95,
    )  # fmt: skip
    ticks = [tick for tick in axes.get_xticks() if tick > edge * 2.2]
    axes.xaxis.set_major_locator(FixedLocator(ticks))


def _draw_rate(axes: Axes, trials: pd.DataFrame, name: str, column: str) -> None:
    color = LIGHT.contenders[name]
    for state, shape in _SHAPES.items():
        part = trials[(trials["state"] == state) & trials["value"].notna()]
        fill = color if state == "complete" else LIGHT.background
        style: dict[str, Any] = {"marker": shape, "s": 30, "edgecolor": color, "linewidth": 0.9}
        axes.scatter(part[column], part["value"], color=fill, **style)
    axes.set(xscale="log", xlabel="learning rate" + (" of the body" if column == "body_lr" else ""))
    rate_axis(axes.xaxis)
    axes.set_title(NAMES[name])
    percent_axis(axes.yaxis)
    values = trials["value"].dropna()
    if np.ptp(values) < _NARROW:
        middle = (values.min() + values.max()) / 2
        axes.set_ylim(middle - _NARROW, middle + _NARROW)


def _legend(figure: Figure, trials: list[pd.DataFrame]) -> None:
    states = pd.concat([table["state"] for table in trials]).value_counts()
    handles = [
        Line2D([], [], ls="", marker=shape, ms=7, mec=LIGHT.muted, label=f"{state} ({states[state]})",
               mfc=LIGHT.muted if state == "complete" else LIGHT.background)
        for state, shape in _SHAPES.items()
        if state in states
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=3, handletextpad=0.1)
