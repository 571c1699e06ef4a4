"""The mistakes of the fine-tuned models: a matrix of classes and what they are taken for."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from thawline.report.figures.style import ERRORS, LIGHT, WIDTH, Picture, plain_axes
from thawline.report.findings import FINETUNED, Findings
from thawline.wording import counted

WRITTEN = 25
"""Classes up to which every cell's number is written into it."""
_LABELLED = 100
"""Classes up to which every row and column has its name."""


def confusion_counts(findings: Findings) -> np.ndarray:
    """Count test pictures of the row's class taken for the column's, (C, C), mean over seeds."""
    classes = findings.metrics["data"]["classes"]
    index = {name: position for position, name in enumerate(classes)}
    table = findings.predictions[findings.predictions["contender"] == FINETUNED]
    counts = np.zeros((len(classes), len(classes)))
    np.add.at(counts, (table["label"].map(index), table["predicted"].map(index)), 1)
    return counts / table["seed"].nunique()


def frequent_mistakes(findings: Findings, most: int = 10) -> list[tuple[str, str, str]]:
    """List the confusions with the highest counts: class, class it is taken for, pictures (mean over seeds).
    Empty where the figure has a number in every cell."""
    classes, counts = findings.metrics["data"]["classes"], confusion_counts(findings)
    if len(classes) <= WRITTEN:
        return []
    errors = counts - np.diag(np.diag(counts))
    rows, columns = np.unravel_index(np.argsort(-errors, axis=None, kind="stable")[:most], errors.shape)
    return [
        (classes[row], classes[column], mean_count(errors[row, column]))
        for row, column in zip(rows, columns, strict=True)
        if errors[row, column] > 0
    ]


def confusion(findings: Findings) -> Picture:
    """Draw the matrix, coloured by mistakes."""
    classes, counts = findings.metrics["data"]["classes"], confusion_counts(findings)
    errors = counts - np.diag(np.diag(counts))
    row, column = np.unravel_index(errors.argmax(), errors.shape)
    if errors.max() == 0:
        sentence = "Every test picture is labelled correctly by every seed."
    else:
        sentence = (
            f"The most frequent mistake is to take “{classes[row]}” for “{classes[column]}”: "
            f"{mean_count(errors[row, column])} of {counted(round(counts[row].sum()), 'picture')}"
            f"{' in the mean over seeds' if len(findings.metrics[FINETUNED]['seeds']) > 1 else ''}."
        )

    def draw() -> Figure:
        side = float(np.clip(0.36 * len(classes) + 1.4, 3.2, 7.6))
        figure = Figure(figsize=(min(WIDTH + 1, max(5.2, side + 1)), side + 0.3))
        axes = figure.add_subplot()
        image = axes.imshow(np.ma.masked_equal(errors, 0), cmap=ERRORS, vmin=0, interpolation="nearest")
        plain_axes(axes)
        cell = 72 * (side - 1.4) / len(classes)
        _label(axes, classes, cell)
        if len(classes) <= WRITTEN:
            _write(axes, counts, cell)
            _rule(axes, len(classes))
        else:
            axes.plot([-0.5, len(classes) - 0.5], [-0.5, len(classes) - 0.5], color=LIGHT.grid, lw=0.6)
        if errors.max() > 0:
            bar = figure.colorbar(image, ax=axes, shrink=0.6, pad=0.02)
            bar.set_label("mistakes (pictures)")
            bar.outline.set_visible(False)
        axes.set(xlabel="taken for", ylabel="is")
        return figure

    return Picture("confusion", sentence, draw)


def _label(axes: Any, classes: list[str], cell: float) -> None:
    step = -(-len(classes) // _LABELLED)
    places, names = range(0, len(classes), step), classes[::step]
    size = float(np.clip(0.8 * cell * step, 3, 8))
    short = all(len(name) <= 3 for name in names)
    axes.set_xticks(places, names, rotation=0 if short and len(names) <= WRITTEN else 90, fontsize=size)
    axes.set_yticks(places, names, fontsize=size)


def mean_count(mean: float) -> str:
    """Write a number of pictures, the mean over seeds: `3` or `2.7`."""
    return f"{mean:.1f}".removesuffix(".0")


def _rule(axes: Any, classes: int) -> None:
    """Draw lines between the cells."""
    between = np.arange(classes + 1) - 0.5
    axes.hlines(between, -0.5, classes - 0.5, color=LIGHT.grid, lw=0.5)
    axes.vlines(between, -0.5, classes - 0.5, color=LIGHT.grid, lw=0.5)


def _write(axes: Any, counts: np.ndarray, cell: float) -> None:
    size = float(np.clip(0.38 * cell, 4, 9))
    for (row, column), count in np.ndenumerate(counts):
        if count == 0:
            continue
        color = LIGHT.muted if row == column else LIGHT.ink
        axes.text(column, row, mean_count(count), ha="center", va="center", fontsize=size, color=color)
