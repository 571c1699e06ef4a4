"""The look of all figures: drawn once, coloured for two themes that colour-blind people can read too."""

import io
import re
import textwrap
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize, to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator, PercentFormatter

from thawline.artifacts import write_text
from thawline.report.findings import FINETUNED, PROBE, SCRATCH
from thawline.wording import rate

WIDTH = 7.6
"""Inches; every figure has the width of the page's text."""

FEWEST = 4
"""Complete trials of which a course or a front shows more than a sentence says."""

_LEFT_OUT = 0.2
"""Share of the worst values that get the colour of the worst instead of stretching the scale."""

_TAG, _COLOR = re.compile("<[^>]+>"), re.compile("#[0-9a-f]{6}")

MARKERS = {FINETUNED: "o", PROBE: "s", SCRATCH: "^"}


_STEPS = 48
"""Colours of a map; of 50 or more, matplotlib would make the colour bar a raster, whose colours stay."""


@dataclass(frozen=True)
class Theme:
    """Colours on one of GitHub's two backgrounds. `contenders` are variants of Okabe and Ito's palette."""

    name: str
    background: str
    ink: str
    muted: str
    grid: str
    contenders: dict[str, str]
    values: Colormap
    """A perceptually uniform colour map, running away from the background."""
    errors: str = "#e25822"
    """The colour of mistakes, the same in each theme: with an opacity it is drawn as a raster."""

    @property
    def colors(self) -> list[str]:
        """All colours; those at one place have the same meaning in each theme."""
        scale = map(to_hex, self.values(range(_STEPS)))
        return [self.background, self.ink, self.muted, self.grid, *self.contenders.values(), *scale]


LIGHT = Theme(
    name="light",
    background="#ffffff",
    ink="#1f2328",
    muted="#656d76",
    grid="#d8dee4",
    contenders={FINETUNED: "#0072b2", PROBE: "#d55e00", SCRATCH: "#009e73"},
    values=matplotlib.colormaps["viridis_r"].resampled(_STEPS),
)
"""All figures are drawn in this theme."""
DARK = Theme(
    name="dark",
    background="#0d1117",
    ink="#e6edf3",
    muted="#8b949e",
    grid="#30363d",
    contenders={FINETUNED: "#56b4e9", PROBE: "#f5893d", SCRATCH: "#2fc99a"},
    values=matplotlib.colormaps["viridis"].resampled(_STEPS),
)
THEMES = (LIGHT, DARK)
_DARKENED = dict(zip(LIGHT.colors, DARK.colors, strict=True))

ERRORS = LinearSegmentedColormap.from_list("errors", [(LIGHT.errors, 0.2), (LIGHT.errors, 0.78)])
"""From few mistakes to most of them, over either background; text in ink keeps a contrast of 4.5."""


@dataclass(frozen=True)
class Picture:
    """A figure that was not drawn yet. `sentence` states what is seen: the title, and the text for
    people who do not see it."""

    name: str
    sentence: str
    draw: Callable[[], Figure]

    def files(self) -> dict[str, str]:
        """Return the file name by theme."""
        return {theme.name: f"{self.name}-{theme.name}.svg" for theme in THEMES}


def settings(dpi: int) -> Any:
    """Return matplotlib's settings by name."""
    return {
        "figure.facecolor": LIGHT.background,
        "figure.dpi": dpi,
        "figure.constrained_layout.use": True,
        "figure.constrained_layout.h_pad": 0.08,
        "figure.constrained_layout.w_pad": 0.08,
        "axes.facecolor": LIGHT.background,
        "axes.edgecolor": LIGHT.grid,
        "axes.labelcolor": LIGHT.ink,
        "axes.titlecolor": LIGHT.ink,
        "axes.titlesize": 9.5,
        "axes.titlelocation": "left",
        "axes.labelsize": 9,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.prop_cycle": cycler(color=list(LIGHT.contenders.values())),
        "grid.color": LIGHT.grid,
        "grid.linewidth": 0.6,
        "text.color": LIGHT.ink,
        "text.parse_math": False,
        "xtick.color": LIGHT.muted,
        "ytick.color": LIGHT.muted,
        "xtick.labelcolor": LIGHT.ink,
        "ytick.labelcolor": LIGHT.ink,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "legend.fontsize": 8.5,
        "legend.frameon": False,
        "font.family": "sans-serif",
        "font.size": 9,
        "svg.hashsalt": "thawline",
        "svg.fonttype": "none",
    }


def render(picture: Picture, dpi: int) -> Figure:
    """Draw the picture, with its sentence as the title."""
    with matplotlib.rc_context(settings(dpi)):
        figure = picture.draw()
        title = textwrap.fill(picture.sentence, int(figure.get_figwidth() * 10.8))
        figure.suptitle(title, x=0.012, ha="left", fontsize=10.5, fontweight="bold")
        return figure


def write_picture(picture: Picture, folder: Path, dpi: int) -> list[Path]:
    """Write one SVG per theme and return their paths; equal findings give equal bytes. `dpi` concerns raster
    parts only."""
    content = io.BytesIO()
    with warnings.catch_warnings(), matplotlib.rc_context(settings(dpi)):
        # labels may be in any script: matplotlib only measures the text, the viewer draws it
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        # `savefig` would draw twice, the first time for nothing but the layout, which drawing includes
        canvas = FigureCanvasSVG(render(picture, dpi))
        canvas.print_svg(content, metadata={"Date": None, "Creator": None})
    light = content.getvalue().decode()
    written = [folder / name for name in picture.files().values()]
    for path, text in zip(written, (light, darkened(light)), strict=True):
        write_text(path, text)
    return written


def darkened(svg: str) -> str:
    """Return a figure with the dark theme's colours, in markup alone: a label may be the name of a colour."""
    return _TAG.sub(lambda tag: _COLOR.sub(lambda found: _DARKENED.get(found[0], found[0]), tag[0]), svg)


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
    """Spread the colours of `LIGHT.values` over accuracies, NaN among them left out."""
    return Normalize(float(np.nanquantile(values, _LEFT_OUT)), float(np.nanmax(values)))


def value_bar(figure: Figure, panels: Any, scale: Normalize, label: str) -> None:
    """Draw the colour bar of a `value_scale` beside `panels`."""
    bar = figure.colorbar(ScalarMappable(scale, LIGHT.values), ax=panels, extend="min", pad=0.03)
    percent_axis(bar.ax.yaxis)
    bar.set_label(label)
    bar.outline.set_visible(False)
    assert bar.solids is not None
    # without edges the background shines through between the steps
    bar.solids.set_edgecolor("face")
