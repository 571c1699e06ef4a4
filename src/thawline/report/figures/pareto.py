"""Accuracy against the cost of one training: the recipes that no other one beats in both."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from thawline.report.figures.style import FEWEST, LIGHT, WIDTH, Picture, percent_axis
from thawline.report.findings import FINETUNED, Findings
from thawline.wording import amount, counted, percent

_COST, _ACCURACY = "training_flops", "val_accuracy"


def pareto_front(findings: Findings) -> Picture | None:
    """Draw accuracy over operations; None where operations were not counted, or of fewer than `FEWEST`
    trials."""
    trials = _complete(findings)
    if findings.front is None or len(trials) < FEWEST:
        return None
    front = findings.front.sort_values([_COST, _ACCURACY], ignore_index=True)

    def draw() -> Figure:
        figure = Figure(figsize=(WIDTH, 3.9))
        axes = figure.add_subplot()
        color = LIGHT.contenders[FINETUNED]
        axes.scatter(
            trials[_COST], trials["value"], s=16, color=LIGHT.muted, alpha=0.7, lw=0, label="complete trials"
        )
        axes.step(
            front[_COST], front[_ACCURACY], where="post", color=color, lw=1.4, marker="o", ms=6,
            label="not beaten in both",
        )  # fmt: skip
        for _, row in front.iterrows():
            axes.annotate(
                f"{int(row['depth'])}", (row[_COST], row[_ACCURACY]), (0, 6), textcoords="offset points",
                ha="center", fontsize=8, color=LIGHT.ink,
            )  # fmt: skip
        axes.set_xlabel("operations of one training (numbers at the points: frozen units)")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: amount(value, "FLOP")))
        axes.set_ylabel("validation accuracy")
        percent_axis(axes.yaxis, None)
        axes.margins(y=0.12)
        figure.legend(loc="outside lower center", ncols=2)
        return figure

    return Picture("pareto_front", _sentence(front), draw)


def _complete(findings: Findings) -> pd.DataFrame:
    complete = findings.ranked(FINETUNED)
    if complete is None or _COST not in complete:
        return pd.DataFrame(columns=[_COST, "value"], dtype=float)
    return complete.dropna(subset=[_COST])


def _sentence(front: pd.DataFrame) -> str:
    cheapest, dearest = front.iloc[0], front.iloc[-1]
    if len(front) == 1:
        return (
            f"One recipe, {percent(cheapest[_ACCURACY])} right, is both the most accurate and the cheapest."
        )
    return (
        f"{counted(len(front), 'recipe')} are not beaten in both accuracy and cost, from "
        f"{percent(cheapest[_ACCURACY])} at {amount(cheapest[_COST], 'FLOP')} a training to "
        f"{percent(dearest[_ACCURACY])} at {amount(dearest[_COST], 'FLOP')}."
    )
