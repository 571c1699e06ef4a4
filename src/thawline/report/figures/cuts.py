"""How well solved heads do on what single units hand over, and on several cuts together."""

import pandas as pd
from matplotlib.figure import Figure

from thawline.report.figures.depth import label_depths
from thawline.report.figures.style import LIGHT, WIDTH, Picture, percent_axis
from thawline.report.findings import PROBE, Findings
from thawline.statistics.intervals import proportion_interval
from thawline.wording import counted, listed, percent


def accuracy_by_cut(findings: Findings) -> Picture | None:
    """Draw the accuracy of a head on each cut alone, and of the chosen ones together; None where fewer than
    two cuts were compared."""
    if findings.cuts is None:
        return None
    read = findings.cuts.assign(cuts=findings.cuts["cuts"].astype(str).str.split())
    singles = read[read["cuts"].str.len() == 1]
    singles = singles.assign(depth=[int(cuts[0]) for cuts in singles["cuts"]])
    if len(singles) < 2:
        return None
    pictures = int(singles["pictures"].iloc[0])
    ends = [proportion_interval(value, pictures, findings.confidence) for value in singles["accuracy"]]
    singles = singles.assign(low=[low for low, _ in ends], high=[high for _, high in ends])
    chosen = read[read["chosen"]].iloc[0]

    def draw() -> Figure:
        figure, color = Figure(figsize=(WIDTH, 4.0)), LIGHT.contenders[PROBE]
        axes = figure.add_subplot()
        errors = [singles["accuracy"] - singles["low"], singles["high"] - singles["accuracy"]]
        axes.errorbar(
            singles["depth"], singles["accuracy"], errors, color=color, fmt="-s", ms=5, lw=1.6,
            elinewidth=0.9, capsize=2.5, label="one cut",
        )  # fmt: skip
        if len(chosen["cuts"]) > 1:
            together = f"{len(chosen['cuts'])} cuts together"
            axes.axhline(chosen["accuracy"], color=LIGHT.ink, lw=1.2, ls="--", label=together)
            own = singles[singles["depth"].isin([int(cut) for cut in chosen["cuts"]])]
            axes.plot(
                own["depth"], own["accuracy"], "o", ms=12, mfc="none", mec=LIGHT.ink, mew=1.4, label="these"
            )  # fmt: skip
        label_depths(axes, singles, findings.units)
        axes.set_xlabel("units before the cut, with the name of the last one")
        axes.set_ylabel("accuracy out of fold")
        percent_axis(axes.yaxis, None)
        figure.legend(loc="outside lower center", ncols=3, columnspacing=1.4, handletextpad=0.4)
        return figure

    return Picture("accuracy_by_cut", _sentence(singles, chosen, pictures), draw)


def _sentence(singles: pd.DataFrame, chosen: pd.Series, pictures: int) -> str:
    best, last = singles.iloc[int(singles["accuracy"].argmax())], singles.iloc[-1]
    on = counted(pictures, "training picture")
    if best["depth"] == last["depth"]:
        told = f"Of single cuts the last one tells most ({percent(last['accuracy'])} of {on})"
    else:
        told = (
            f"Of single cuts the one behind {counted(int(best['depth']), 'unit')} tells most "
            f"({percent(best['accuracy'])} of {on}, the last one {percent(last['accuracy'])})"
        )
    if len(chosen["cuts"]) == 1:
        return f"{told}; several together are not better by more than chance."
    names = listed([str(cut) for cut in chosen["cuts"]])
    return f"{told}; the cuts behind {names} units together, {percent(chosen['accuracy'])}."
