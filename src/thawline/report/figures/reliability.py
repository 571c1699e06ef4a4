"""Accuracy against confidence, bin by bin: equal where confidence means what it says."""

import numpy as np
from matplotlib.figure import Figure

from thawline.report.figures.style import LIGHT, MARKERS, WIDTH, Picture, percent_axis
from thawline.report.findings import FINETUNED, Findings
from thawline.report.recipes import shown
from thawline.wording import percent


def reliability(findings: Findings) -> Picture:
    """Draw each contender's accuracy over its confidence, and how many predictions are in each bin."""
    table = findings.calibration
    own = findings.predictions[findings.predictions["contender"] == FINETUNED]
    error = findings.metrics[FINETUNED]["expected_calibration_error"]["mean"]
    sentence = (
        f"Fine-tuned, the mean confidence is {percent(own['confidence'].mean())} where "
        f"{percent(own['correct'].mean())} are right (expected calibration error {percent(error)})."
    )

    def draw() -> Figure:
        figure = Figure(figsize=(WIDTH, 4.8))
        curve, share = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        curve.plot([0, 1], [0, 1], color=LIGHT.muted, lw=1, ls=":", label="calibrated")
        names = shown(findings)
        for position, (name, called) in enumerate(names.items()):
            part, color = table[table["contender"] == name], LIGHT.contenders[name]
            total = part["count"].sum()
            curve.plot(part["confidence"], part["accuracy"], color=color, lw=1.1, alpha=0.45)
            curve.scatter(
                part["confidence"], part["accuracy"], s=18 + 160 * np.sqrt(part["count"] / total),
                color=color, marker=MARKERS[name], alpha=0.85, lw=0,
            )  # fmt: skip
            curve.plot([], [], color=color, marker=MARKERS[name], ms=6, lw=1.2, label=called)
            width = (part["high"] - part["low"]) / (len(names) + 0.5)
            left = part["low"] + (position + 0.25) * width
            share.bar(left, part["count"] / total, width, align="edge", color=color)
        curve.set(ylabel="share right", ylim=(-0.03, 1.05))
        share.set(xlabel="confidence", ylabel="share of\npredictions", xlim=(-0.01, 1.01))
        for axes in (curve, share):
            percent_axis(axes.yaxis)
        percent_axis(share.xaxis)
        curve.legend(loc="upper left")
        return figure

    return Picture("reliability", sentence, draw)
