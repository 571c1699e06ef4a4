"""Every complete trial as a line across its parameters."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from thawline.report.figures.study import RATES, Studied, label, shown, studied
from thawline.report.figures.style import LIGHT, WIDTH, Picture, plain_axes, value_scale
from thawline.report.findings import Findings
from thawline.report.wording import counted, listed, percent, rate

_ABSENT = -0.12
"""Where on its axis a parameter stands that did not exist in a trial; the others lie in 0..1."""
_BEST = 0.1
"""Share of the trials that the sentence speaks of."""
_TICKS = 7


def parallel_coordinates(findings: Findings) -> Picture | None:
    """Draw a line per trial; None where few trials are complete or fewer than two parameters varied."""
    study = studied(findings)
    if study is None or len(study.parameters) < 2:
        return None

    def draw() -> Figure:
        figure = Figure(figsize=(WIDTH, 3.8))
        axes = figure.add_subplot()
        columns = [*study.parameters, "value"]
        places = np.stack([_places(study.trials[name], name) for name in columns], axis=1)
        values = study.trials["value"].to_numpy()
        order = values.argsort(kind="stable")
        lines = [np.column_stack([np.arange(len(columns)), row]) for row in places[order]]
        scale = value_scale(values)
        strength = 0.25 + 0.7 * np.clip(scale(values[order]), 0, 1)
        axes.add_collection(
            LineCollection(
                lines, array=values[order], cmap=LIGHT.values, norm=scale, lw=0.7 + strength, alpha=strength
            )
        )
        for position, name in enumerate(columns):
            _draw_axis(axes, position, name, study.trials[name])
        axes.set(xlim=(-0.3, len(columns) - 0.55), ylim=(_ABSENT - 0.05, 1.05))
        axes.set_xticks(range(len(columns)), [_title(name) for name in columns])
        axes.set_yticks([])
        plain_axes(axes)
        return figure

    return Picture("parallel_coordinates", _sentence(study), draw)


def _title(name: str) -> str:
    return "validation\naccuracy" if name == "value" else label(name).replace(" ", "\n", 1)


def _places(values: pd.Series, name: str) -> np.ndarray:
    """Return where on its axis, of height 0..1, each value stands."""
    if _is_number(name):
        numbers = values.to_numpy(float)
        numbers = np.log(numbers) if name in RATES else numbers
        low, high = np.nanmin(numbers), np.nanmax(numbers)
        found = (numbers - low) / (high - low)
    else:
        names = [str(value) for value in sorted(values.dropna().unique())]
        steps = {each: place / max(1, len(names) - 1) for place, each in enumerate(names)}
        found = np.array([steps.get(str(value), np.nan) for value in values])
    return np.where(np.isnan(found), _ABSENT, found)


def _is_number(name: str) -> bool:
    """Tell numbers from choices, which stand in equal steps, whatever the distance between their values."""
    return name in (*RATES, "depth", "value")


def _ticks(values: pd.Series, name: str) -> list[Any]:
    known = sorted(values.dropna().unique())
    if name in RATES:
        return list(np.geomspace(known[0], known[-1], 5))
    if name == "value":
        return list(np.linspace(known[0], known[-1], 5))
    step = -(-len(known) // _TICKS)
    return known[::step]


def _draw_axis(axes: Axes, position: int, name: str, values: pd.Series) -> None:
    axes.axvline(position, 0, 1, color=LIGHT.muted, lw=0.8)
    ticks = _ticks(values, name)
    everything = pd.concat([values.dropna(), pd.Series(ticks)], ignore_index=True).rename(name)
    heights = _places(everything, name)[-len(ticks) :]
    named = [(height, percent(tick) if name == "value" else shown(name, tick)) for height, tick in
             zip(heights, ticks, strict=True)]  # fmt: skip
    if values.isna().any():
        named.append((_ABSENT, "–"))
    for height, text in named:
        axes.text(
            position + 0.03, height, text, va="center", fontsize=7.5, color=LIGHT.ink,
            bbox={"fc": LIGHT.background, "ec": "none", "alpha": 0.8, "pad": 0.8},
        )  # fmt: skip


def _sentence(study: Studied) -> str:
    count = max(2, round(_BEST * len(study.trials)))
    best = study.trials.head(count)
    parts = [_between(best[name], name) for name in ("depth", *RATES) if name in study.parameters]
    told = listed([part for part in parts if part]) or "no depth or rate in common"
    return f"The best {count} of {counted(len(study.trials), 'complete trial')} have {told}."


def _between(values: pd.Series, name: str) -> str:
    values = values.dropna()
    if values.empty:
        return ""
    low, high = (rate(end) if name in RATES else f"{end:g}" for end in (values.min(), values.max()))
    between = low if low == high else f"{low} to {high}"
    return f"{between} frozen units" if name == "depth" else f"a {label(name)} of {between}"
