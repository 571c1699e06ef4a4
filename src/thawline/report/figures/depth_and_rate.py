"""Each learning rate at each depth: a map of the mean accuracy over the trials in each cell."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from thawline.report.figures.style import LIGHT, WIDTH, Picture, plain_axes, value_bar, value_scale
from thawline.report.findings import FINETUNED, Findings
from thawline.wording import counted, percent, rate

_FEW = 20
"""Complete trials below which a map would mostly show chance."""
_RATES = {"head_lr": "head rate", "body_lr": "body rate"}
_BINS = 5
_NUMBERS = 80
"""Cells above which no numbers are written into them."""
_DEPTHS = 24
"""Depths above which not each gets a label."""


def depth_and_rate(findings: Findings) -> Picture | None:
    """Draw a map for each rate that varied; None where few trials are complete or all equally good, or
    neither rate varied, or the depth did not."""
    trials = findings.ranked(FINETUNED)
    if trials is None or len(trials) < _FEW or (trials[["depth", "value"]].nunique() < 2).any():
        return None
    maps = {name: cells(trials, name) for name in _RATES if trials[name].nunique() > 1}
    if not maps:
        return None

    def draw() -> Figure:
        figure = Figure(figsize=(WIDTH, 3.7))
        panels = figure.subplots(1, len(maps), squeeze=False)[0]
        scale = value_scale(np.concatenate([table.to_numpy().ravel() for table in maps.values()]))
        for axes, (name, table) in zip(panels, maps.items(), strict=True):
            _draw(axes, table, scale)
            axes.set_title(_RATES[name])
        panels[0].set_ylabel("learning rate")
        value_bar(figure, panels, scale, "mean validation accuracy")
        return figure

    return Picture("depth_and_rate", _sentence(trials, *next(iter(maps.items()))), draw)


def cells(trials: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the mean accuracy of the trials in each cell: rows are intervals of the rate `name`, equally
    wide on a logarithmic scale, columns are depths. NaN where nothing was tried."""
    tried = trials.dropna(subset=[name])
    edges = np.geomspace(tried[name].min(), tried[name].max(), _BINS + 1)
    # rounding may leave an end outside of its own interval
    edges[[0, -1]] *= 1 - 1e-9, 1 + 1e-9
    bins = pd.cut(tried[name], pd.IntervalIndex.from_breaks(edges))
    table = tried.groupby([bins, "depth"], observed=False)["value"].mean().unstack()
    return table.reindex(columns=sorted(trials["depth"].unique()))


def _sentence(trials: pd.DataFrame, name: str, table: pd.DataFrame) -> str:
    row, column = divmod(int(np.nanargmax(table.to_numpy())), table.shape[1])
    between: Any = table.index[row]
    depth: Any = table.columns[column]
    units = counted(int(depth), "unit")
    own = ((trials["depth"] == depth) & trials[name].map(lambda rate: rate in between)).sum()
    return (
        f"Of {counted(len(trials), 'complete trial')}, those with {units} frozen and a {_RATES[name]} from "
        f"{rate(between.left)} to {rate(between.right)} did best: "
        f"{percent(table.to_numpy()[row, column])} right in the mean of {own}."
    )


def _draw(axes: Axes, table: pd.DataFrame, scale: Normalize) -> None:
    values = table.to_numpy()
    axes.pcolormesh(np.ma.masked_invalid(values), cmap=LIGHT.values, norm=scale, ec=LIGHT.background, lw=1.2)
    edges = [each.left for each in table.index] + [table.index[-1].right]
    axes.set_yticks(range(len(edges)), [rate(edge) for edge in edges])
    step = -(-values.shape[1] // _DEPTHS)
    axes.xaxis.set_major_locator(FixedLocator([place + 0.5 for place in range(0, values.shape[1], step)]))
    axes.set_xticklabels([str(depth) for depth in table.columns[::step]])
    axes.set_xlabel("frozen units")
    plain_axes(axes)
    for (row, column), value in np.ndenumerate(values) if values.size <= _NUMBERS else ():
        if np.isfinite(value):
            # the map runs away from the background: good cells are far from it
            color = LIGHT.background if scale(value) > 0.5 else LIGHT.ink
            where: Any = {"ha": "center", "va": "center", "fontsize": 7}
            axes.text(column + 0.5, row + 0.5, f"{100 * value:.0f}", color=color, **where)
