"""The sources that were compared: how well each suits the pictures, and how long it takes for one."""

from matplotlib.figure import Figure

from thawline.choose_source.wording import sentence
from thawline.report.figures.style import LIGHT, MARKERS, WIDTH, Picture, percent_axis
from thawline.report.findings import FINETUNED, PROBE, Findings


def sources(findings: Findings) -> Picture | None:
    """Draw left-out accuracy over seconds, with paired intervals of the lag behind the best; None where no
    sources were compared."""
    table = findings.sources
    if table is None:
        return None
    best = table["accuracy"].max()

    def draw() -> Figure:
        figure = Figure(figsize=(WIDTH, 3.6))
        axes = figure.add_subplot()
        axes.axhline(best, color=LIGHT.muted, lw=0.8, ls=":")
        for _, row in table.iterrows():
            place, name = row["seconds"], FINETUNED if row["chosen"] else PROBE
            axes.plot(
                [place] * 2, [best + row["low"], best + row["high"]], color=LIGHT.contenders[name], lw=1.6
            )
            axes.plot(place, row["accuracy"], MARKERS[name], color=LIGHT.contenders[name], ms=7)
            axes.annotate(
                row["source"], (place, row["accuracy"]), (7, 5), textcoords="offset points", fontsize=8,
                color=LIGHT.ink,
            )  # fmt: skip
        axes.set_xlabel("seconds that the source takes for a picture (round: chosen)")
        axes.set_ylabel("accuracy of a head on pictures left out")
        axes.set_xlim(0, 1.5 * table["seconds"].max())
        percent_axis(axes.yaxis, None)
        axes.margins(y=0.15)
        return figure

    return Picture("sources", sentence(table), draw)
