"""Loss and validation accuracy, epoch by epoch, for every contender and seed."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from thawline.report.figures.style import LIGHT, WIDTH, Picture, percent_axis
from thawline.report.findings import NAMES, Findings
from thawline.report.recipes import told
from thawline.wording import listed, percent


def training_curves(findings: Findings) -> Picture | None:
    """Draw a column for each contender that was trained and a line for each seed; None where there is none: a
    head that is solved has no epochs."""
    histories = {
        name: table
        for name, table in findings.histories.items()
        if not table.empty and not told(findings, name).is_solved
    }
    if not histories:
        return None
    ends = []
    for name, table in histories.items():
        last = table.sort_values("epoch").groupby("seed")["val_accuracy"].last().mean()
        if np.isfinite(last):
            ends.append(f"{percent(last)} {NAMES[name]}")
    sentence = (
        f"In the last epoch, validation accuracy is {listed(ends)} (mean over seeds)."
        if ends
        else "The training loss, epoch by epoch; no pictures were left to validate on."
    )

    def draw() -> Figure:
        figure = Figure(figsize=(WIDTH, 4.4))
        panels = figure.subplots(2, len(histories), sharex="col", sharey="row", squeeze=False)
        for column, (name, table) in enumerate(histories.items()):
            loss, accuracy = panels[:, column]
            color = LIGHT.contenders[name]
            mark = "o" if table["epoch"].nunique() == 1 else None
            for _, run in table.groupby("seed"):
                epochs = run["epoch"] + 1
                loss.plot(epochs, run["train_loss"], color=color, lw=1.1, alpha=0.9, marker=mark, ms=4)
                loss.plot(epochs, run["val_loss"], color=LIGHT.muted, lw=1.1, ls="--", marker=mark, ms=4)
                accuracy.plot(epochs, run["val_accuracy"], color=color, lw=1.1, marker=mark, ms=4)
            loss.set_title(NAMES[name])
            accuracy.set_xlabel("epoch")
            accuracy.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        panels[0, 0].set_ylabel("loss")
        panels[0, 0].set_ylim(bottom=0)
        panels[1, 0].set_ylabel("validation accuracy")
        percent_axis(panels[1, 0].yaxis)
        styles = [
            Line2D([], [], color=LIGHT.ink, lw=1.2, label="training"),
            Line2D([], [], color=LIGHT.muted, lw=1.2, ls="--", label="validation"),
        ]
        figure.legend(handles=styles, loc="outside lower center", ncols=2, handlelength=2.4)
        return figure

    return Picture("training_curves", sentence, draw)
