"""The test accuracies side by side, and by how much the fine-tuned models lead."""

from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from thawline.report.figures.style import LIGHT, MARKERS, WIDTH, Picture, percent_axis
from thawline.report.findings import FINETUNED, NAMES, PROBE, SCRATCH, Findings
from thawline.report.recipes import is_the_probe, shown
from thawline.report.wording import DIFFERENCES, contains_zero, coverage, same_model
from thawline.wording import listed, percent, points

_OTHERS = {SCRATCH: "training from scratch", PROBE: "the linear probe"}


def contenders(findings: Findings) -> Picture:
    """Draw each contender's accuracy and the lead of the fine-tuned models, with intervals."""
    measured = {name: key for name, key in DIFFERENCES.items() if key in findings.metrics}
    leads = {name: key for name, key in measured.items() if not same_model(findings.metrics[key]["accuracy"])}

    def draw() -> Figure:
        rows = max(len(shown(findings)), len(leads))
        figure = Figure(figsize=(WIDTH, 1.7 + 0.4 * rows))
        if not leads:
            _draw_accuracies(figure.add_subplot(), findings)
            return figure
        left, right = figure.subplots(1, 2, width_ratios=[1.25, 1])
        _draw_accuracies(left, findings)
        _draw_leads(right, findings, leads)
        return figure

    same = [_OTHERS[name] for name in measured if name not in leads]
    return Picture("contenders", _sentence(findings, leads, same), draw)


def _sentence(findings: Findings, leads: dict[str, str], same: list[str]) -> str:
    """State the leads; contenders that cannot be told apart come last, because they share their words."""
    parts, equal = [], []
    for name, key in leads.items():
        gap = findings.metrics[key]["accuracy"]
        if contains_zero(gap):
            equal.append(_OTHERS[name])
        else:
            side = "above" if gap["mean"] > 0 else "below"
            parts.append(f"{points(gap['mean'], signed=False)} points {side} {_OTHERS[name]}")
    if equal:
        parts.append(f"not distinguishable from {' or '.join(equal)}")
    accuracy = percent(findings.metrics[FINETUNED]["accuracy"]["mean"])
    rest = f", {listed(parts)}" if parts else ""
    alike = "; it is the linear probe" if is_the_probe(findings) else ""
    if not alike and same:
        alike = f"; {listed(same)} {'is' if len(same) == 1 else 'are'} right on the same ones"
    return f"Fine-tuned, the model gets {accuracy} of the test pictures right{rest}{alike}."


def _draw_accuracies(axes: Any, findings: Findings) -> None:
    called = shown(findings)
    names = list(called)[::-1]
    by_seed = findings.predictions.groupby(["contender", "seed"])["correct"].mean()
    for row, name in enumerate(names):
        found, color = findings.metrics[name]["accuracy"], LIGHT.contenders[name]
        seeds = by_seed[name]
        axes.plot(seeds, [row - 0.22] * len(seeds), "|", color=color, ms=7, mew=1.2)
        _whisker(axes, row, found, color, MARKERS[name])
        axes.annotate(
            percent(found["mean"]), (found["mean"], row), xytext=(0, 6), textcoords="offset points",
            ha="center", fontsize=8,
        )  # fmt: skip
    _rows(axes, [called[name] for name in names])
    percent_axis(axes.xaxis, None)
    axes.set_title(f"test accuracy, {coverage(findings)} interval; ticks: seeds")


def _draw_leads(axes: Any, findings: Findings, leads: dict[str, str]) -> None:
    names = list(leads)[::-1]
    axes.axvline(0, color=LIGHT.ink, lw=1)
    for row, name in enumerate(names):
        gap = findings.metrics[leads[name]]["accuracy"]
        _whisker(axes, row, gap, LIGHT.contenders[name], MARKERS[name])
        axes.annotate(
            points(gap["mean"]), (gap["mean"], row), xytext=(0, 6), textcoords="offset points",
            ha="center", fontsize=8,
        )  # fmt: skip
    _rows(axes, [f"over {NAMES[name]}" for name in names])
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{100 * value:+.3g}".replace("-", "−") if value else "0")
    )
    axes.set_title("lead of fine-tuned, percentage points")


def _whisker(axes: Any, row: int, found: dict[str, float], color: str, marker: str) -> None:
    axes.plot([found["low"], found["high"]], [row, row], color=color, lw=2.2, solid_capstyle="butt")
    axes.plot(found["mean"], row, marker, color=color, ms=8)


def _rows(axes: Any, names: list[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(-0.6, len(names) - 0.35)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.12)
    axes.locator_params(axis="x", nbins=5)
