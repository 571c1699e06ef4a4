"""The time each stage took."""

from typing import Any

from matplotlib.figure import Figure

from thawline.report.costs import stage_name
from thawline.report.figures.style import LIGHT, WIDTH, Picture
from thawline.wording import duration, percent


def cost(costs: dict[str, Any]) -> Picture | None:
    """Draw a bar per stage. Stages that took no time (weights that were given) are left out; None where all
    are. `costs` is from `collect_costs`."""
    seconds = {stage: each["seconds"] for stage, each in costs["stages"].items() if each["seconds"]}
    if not seconds:
        return None
    total = sum(seconds.values())
    longest = max(seconds, key=lambda stage: seconds[stage])
    sentence = (
        f"The stages that train took {duration(total)} in all, "
        f"{percent(seconds[longest] / total)} of it in “{stage_name(longest)}”."
    )

    def draw() -> Figure:
        figure = Figure(figsize=(WIDTH, 1.3 + 0.3 * len(seconds)))
        axes = figure.add_subplot()
        # the first on top
        stages = list(seconds)[::-1]
        colors = [LIGHT.contenders.get(stage.partition("/")[2], LIGHT.muted) for stage in stages]
        names, lengths = [stage_name(stage) for stage in stages], [seconds[stage] for stage in stages]
        bars = axes.barh(names, lengths, 0.62, color=colors)
        axes.bar_label(bars, [duration(length) for length in lengths], padding=4, fontsize=8)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.margins(x=0.14)
        axes.set_xlabel("seconds")
        return figure

    return Picture("cost", sentence, draw)
