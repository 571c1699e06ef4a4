"""The look of all figures: two themes, colours that colour-blind people can tell apart, stable bytes."""

import textwrap
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator, PercentFormatter

from thawline.artifacts import atomic_path
from thawline.report.findings import FINETUNED, PROBE, SCRATCH
from thawline.report.wording import rate

WIDTH = 7.6
"""Inches; every figure has the width of the page's text."""

_LEFT_OUT = 0.2
"""Share of the worst values that get the colour of the worst instead of stretching the scale."""

MARKERS = {FINETUNED: "o", PROBE: "s", SCRATCH: "^"}


@dataclass(frozen=True)
class Theme:
    """Colours on one of GitHub's two backgrounds. `contenders` are variants of Okabe and Ito's palette."""

    name: str
    background: str
    ink: str
    muted: str
    grid: str
    contenders: dict[str, str]
    errors: str
    """The colour of the worst confusion; none is the background."""
    values: str
    """A perceptually uniform colour map, running away from the background."""

    def heat(self) -> LinearSegmentedColormap:
        """Return a colour map from the background to the colour of errors."""
        return LinearSegmentedColormap.from_list("errors", [self.background, self.errors])

    def settings(self, dpi: int) -> Any:
        """Return matplotlib's settings by name."""
        return {
            "figure.facecolor": self.background,
            "savefig.facecolor": self.background,
            "savefig.dpi": dpi,
            "figure.dpi": dpi,
            "figure.constrained_layout.use": True,
            "figure.constrained_layout.h_pad": 0.08,
            "figure.constrained_layout.w_pad": 0.08,
            "axes.facecolor": self.background,
            "axes.edgecolor": self.grid,
            "axes.labelcolor": self.ink,
            "axes.titlecolor": self.ink,
            "axes.titlesize": 9.5,
            "axes.titlelocation": "left",
            "axes.labelsize": 9,
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.prop_cycle": cycler(color=list(self.contenders.values())),
            "grid.color": self.grid,
            "grid.linewidth": 0.6,
            "text.color": self.ink,
            "text.parse_math": False,
            "xtick.color": self.muted,
            "ytick.color": self.muted,
            "xtick.labelcolor": self.ink,
            "ytick.labelcolor": self.ink,
            "xtick.labelsize": 8,
            "ytick.labelsize": 8,
            "legend.fontsize": 8.5,
            "legend.frameon": False,
            "font.family": "sans-serif",
            "font.size": 9,
            "svg.hashsalt": "thawline",
            "svg.fonttype": "none",
        }


LIGHT = Theme(
    name="light",
    background="#ffffff",
    ink="#1f2328",
    muted="#656d76",
    grid="#d8dee4",
    contenders={FINETUNED: "#0072b2", PROBE: "#d55e00", SCRATCH: "#009e73"},
    errors="#b83200",
    values="viridis_r",
)
DARK = Theme(
    name="dark",
    background="#0d1117",
    ink="#e6edf3",
    muted="#8b949e",
    grid="#30363d",
    contenders={FINETUNED: "#56b4e9", PROBE: "#f5893d", SCRATCH: "#2fc99a"},
    errors="#ff8a4c",
    values="viridis",
)
THEMES = (LIGHT, DARK)


@dataclass(frozen=True)
class Picture:
    """A figure before it has a theme. `sentence` states what is seen: the title, and the text for
    people who do not see it."""

    name: str
    sentence: str
    draw: Callable[[Theme], Figure]

    def files(self) -> dict[str, str]:
        """Return the file name by theme."""
        return {theme.name: f"{self.name}-{theme.name}.svg" for theme in THEMES}


def render(picture: Picture, theme: Theme, dpi: int) -> Figure:
    """Draw the picture in a theme, with its sentence as the title."""
    with matplotlib.rc_context(theme.settings(dpi)):
        figure = picture.draw(theme)
        title = textwrap.fill(picture.sentence, int(figure.get_figwidth() * 10.8))
        figure.suptitle(title, x=0.012, ha="left", fontsize=10.5, fontweight="bold")
        return figure


def write_picture(picture: Picture, folder: Path, dpi: int) -> list[Path]:
    """Write one SVG per theme and return their paths; equal findings give equal bytes. `dpi` concerns raster
    parts only."""
    written = []
    for theme in THEMES:
        path = folder / picture.files()[theme.name]
        with warnings.catch_warnings(), atomic_path(path) as temporary:
            # labels may be in any script: matplotlib only measures the text, the viewer draws it
            warnings.filterwarnings("ignore", "Glyph .* missing from font")
            figure = render(picture, theme, dpi)
            with matplotlib.rc_context(theme.settings(dpi)):
                figure.savefig(temporary, format="svg", metadata={"Date": None, "Creator": None})
        written.append(path)
    return written


def percent_axis(axis: Axis, decimals: int | None = 0) -> None:
    """Write shares as percentages, as in the text. `decimals` None: as many as the ticks need."""
    axis.set_major_formatter(PercentFormatter(1, decimals, symbol=" %"))


def rate_axis(axis: Axis) -> None:
    """Show learning rates on a logarithmic scale, written as in the text."""
    axis.set_major_locator(LogLocator(10))
    axis.set_major_formatter(FuncFormatter(lambda value, _: rate(value)))
    axis.set_minor_locator(NullLocator())


def plain_axes(axes: Axes) -> None:
    """Remove grid and frame: for maps, whose cells are their own grid."""
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0)


def value_scale(values: Any) -> Normalize:
    """Spread the colours of `theme.values` over accuracies, NaN among them left out."""
    return Normalize(float(np.nanquantile(values, _LEFT_OUT)), float(np.nanmax(values)))


def value_bar(figure: Figure, panels: Any, scale: Normalize, theme: Theme, label: str) -> None:
    """Draw the colour bar of a `value_scale` beside `panels`."""
    bar = figure.colorbar(ScalarMappable(scale, theme.values), ax=panels, extend="min", pad=0.03)
    percent_axis(bar.ax.yaxis)
    bar.set_label(label)
    bar.outline.set_visible(False)


def named_bars(
    axes: Axes, bars: Mapping[str, float], text: Callable[[float], str], colors: Sequence[str]
) -> None:
    """Draw a horizontal bar for each name, the first on top, each with its value as `text` writes it."""
    names = list(bars)[::-1]
    drawn = axes.barh(names, [bars[name] for name in names], 0.62, color=colors[::-1])
    axes.bar_label(drawn, [text(bars[name]) for name in names], padding=4, fontsize=8)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.14)
