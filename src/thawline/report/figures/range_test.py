"""The loss over the learning rate, as the range test saw it."""

from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from thawline.artifacts import atomic_path
from thawline.report.figures.style import LIGHT, WIDTH, Picture, rate_axis, render, settings
from thawline.training.range_test import RangeTest
from thawline.wording import rate

_DPI = 110


def write_range_test(found: RangeTest, path: Path) -> None:
    """Write the figure of `found` as the PNG `path`."""
    picture = loss_over_rate(found)
    figure = render(picture, _DPI)
    with matplotlib.rc_context(settings(_DPI)), atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})


def loss_over_rate(found: RangeTest) -> Picture:
    """Draw every step's loss, the smoothed loss, and the suggested rates as lines."""
    suggested = {"steepest": found.steepest, "tenth of the minimum's": found.tenth_of_minimum}

    def draw() -> Figure:
        figure = Figure(figsize=(WIDTH, 3.6))
        axes = figure.subplots()
        color, *others = LIGHT.contenders.values()
        axes.plot(found.rates, found.losses, ".", ms=4, color=LIGHT.muted, label="each step")
        axes.plot(found.rates, found.smoothed, lw=1.8, color=color, label="smoothed")
        for (name, value), line in zip(suggested.items(), others, strict=False):
            if value is not None:
                axes.axvline(value, color=line, ls="--", lw=1.3, label=f"{name}: {rate(value)}")
        axes.set(xscale="log", xlabel="learning rate of the fastest group", ylabel="training loss (nats)")
        rate_axis(axes.xaxis)
        # where the loss diverges, single steps would leave nothing to see of the rest
        top = max(found.smoothed[0], *found.smoothed[: len(found.smoothed) // 2])
        axes.set_ylim(bottom=0, top=1.6 * top)
        axes.legend()
        return figure

    return Picture("range_test", _sentence(found), draw)


def _sentence(found: RangeTest) -> str:
    if found.steepest is None:
        return "The loss fell at none of the learning rates."
    end = f"diverged at {rate(found.rates[-1])}" if found.diverged else "did not diverge"
    return f"The loss fell fastest at a learning rate of {rate(found.steepest)} and {end}."
