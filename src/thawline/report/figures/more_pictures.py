"""Accuracy against the number of pictures that teach, and what twice as many are expected to bring."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from thawline.report.figures.style import LIGHT, MARKERS, WIDTH, Picture, percent_axis
from thawline.report.findings import PROBE, Findings
from thawline.wording import percent, percent_with_range


def more_pictures(findings: Findings) -> Picture | None:
    """Draw the curve with its intervals; None where it has fewer than two points."""
    found = findings.doubts.told.get("more_pictures") or {}
    if len(found.get("points", ())) < 2:
        return None
    names = ("pictures", "accuracy", "low", "high")
    measured = np.array([[each[name] for name in names] for each in found["points"]]).T
    twice = found.get("twice")

    def draw() -> Figure:
        figure = Figure(figsize=(WIDTH, 3.2))
        axes = figure.add_subplot()
        color, marker = LIGHT.contenders[PROBE], MARKERS[PROBE]
        pictures, accuracy, low, high = measured
        axes.fill_between(pictures, low, high, color=color, alpha=0.15, lw=0)
        axes.plot(pictures, accuracy, color=color, marker=marker, ms=5, lw=1.6, label="measured")
        if twice:
            end, reached, least, most = (twice[name] for name in names)
            axes.plot([pictures[-1], end], [accuracy[-1], reached], color=color, ls=":", lw=1.4)
            axes.errorbar(
                [end],
                [reached],
                yerr=[[reached - least], [most - reached]],
                color=color,
                marker=marker,
                mfc="none",
                capsize=3,
                ls="",
                label="drawn out",
            )
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("pictures that teach a linear head")
        axes.set_ylabel("accuracy on other pictures")
        percent_axis(axes.yaxis, None)
        figure.legend(loc="outside lower center", ncols=2)
        return figure

    return Picture("more_pictures", _sentence(found["points"][-1], twice), draw)


def _sentence(last: dict[str, Any], twice: dict[str, Any] | None) -> str:
    right = f"a linear head gets {percent(last['accuracy'])} of others right"
    taught = f"Taught by {last['pictures']:,} pictures, {right}"
    if twice is None:
        return f"{taught}."
    then = percent_with_range({"mean": twice["accuracy"], "low": twice["low"], "high": twice["high"]})
    return f"{taught}; by {twice['pictures']:,}, as the curve is drawn out, {then}."
