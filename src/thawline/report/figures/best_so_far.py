"""The accuracy of the best recipe found so far, as the searches went on."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from thawline.report.costs import busy
from thawline.report.figures.style import FEWEST, LIGHT, MARKERS, WIDTH, Picture, percent_axis
from thawline.report.findings import NAMES, Findings
from thawline.wording import duration, listed

_LEFT_OUT = 0.2
"""Share of the worst trials that may lie below the axis instead of flattening the curve."""


@dataclass(frozen=True, eq=False)
class Course:
    """One search: the complete trials' `value` in the order they ended, and how much of the search was over
    by then: `seconds` of work, or None where they are not known, and `trials` of `total`. `numbers` are the
    trials' own."""

    value: np.ndarray
    numbers: np.ndarray
    trials: np.ndarray
    seconds: np.ndarray | None
    total: int

    @property
    def best(self) -> np.ndarray:
        """The highest value so far."""
        return np.maximum.accumulate(self.value)

    def place(self, number: int) -> int:
        """Return the position of a trial."""
        return int(np.flatnonzero(self.numbers == number)[0])


def best_so_far(findings: Findings) -> Picture | None:
    """Draw the best value over time; None where no search completed `FEWEST` trials."""
    courses = {name: course(table) for name, table in findings.trials.items()}
    courses = {name: each for name, each in courses.items() if len(each.value) >= FEWEST}
    if not courses:
        return None
    timed = all(each.seconds is not None for each in courses.values())
    # of equal values the study takes one, which need not be the first
    ranked = {name: findings.ranked(name) for name in courses}
    best = {name: int(table["number"].iloc[0]) for name, table in ranked.items() if table is not None}

    def draw() -> Figure:
        figure = Figure(figsize=(WIDTH, 3.6))
        axes = figure.add_subplot()
        for name, each in courses.items():
            x = each.seconds if timed and each.seconds is not None else each.trials
            color, marker = LIGHT.contenders[name], MARKERS[name]
            axes.step(x, each.best, where="post", color=color, lw=1.6, label=NAMES[name])
            axes.scatter(x, each.value, s=13, color=color, marker=marker, alpha=0.55, lw=0)
            at = each.place(best[name])
            axes.plot(x[at], each.value[at], marker, ms=9, mfc="none", mec=LIGHT.ink, mew=1.2, ls="")
        axes.set_xlabel("seconds of search" if timed else "trials")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylabel("validation accuracy")
        axes.set_ylim(bottom=_floor(courses))
        percent_axis(axes.yaxis, None)
        figure.legend(loc="outside lower center", ncols=len(courses))
        return figure

    return Picture("best_so_far", _sentence(courses, best, timed), draw)


def course(trials: pd.DataFrame) -> Course:
    """Put trials in the order they ended. `trials` has the columns of trials.csv; `started` and `finished`,
    in seconds, may be absent."""
    known = {"started", "finished"} <= set(trials) and trials[["started", "finished"]].notna().all(axis=None)
    ordered = trials.sort_values("finished" if known else "number", kind="stable")
    complete = ((ordered["state"] == "complete") & ordered["value"].notna()).to_numpy()
    seconds = busy(ordered["started"].to_numpy(), ordered["finished"].to_numpy()) if known else None
    return Course(
        value=ordered["value"].to_numpy(float)[complete],
        numbers=ordered["number"].to_numpy(int)[complete],
        trials=np.flatnonzero(complete) + 1,
        seconds=None if seconds is None else seconds[complete],
        total=len(trials),
    )


def _sentence(courses: dict[str, Course], best: dict[str, int], timed: bool) -> str:
    parts = [_found(NAMES[name], each, best[name], timed) for name, each in courses.items()]
    return f"The best trial came {listed(parts)}."


def _found(name: str, course: Course, number: int, timed: bool) -> str:
    at = course.place(number)
    after = ""
    if timed and course.seconds is not None:
        after = f", after {duration(float(course.seconds[at]))}"
    return f"{_ordinal(int(course.trials[at]))} of {course.total:,} (trial {number}{after}) for {name}"


def _ordinal(number: int) -> str:
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _floor(courses: dict[str, Course]) -> float:
    values = np.concatenate([each.value for each in courses.values()])
    lowest = min(float(np.quantile(values, _LEFT_OUT)), *(float(each.best[0]) for each in courses.values()))
    return max(0.0, lowest - 0.08 * (float(values.max()) - lowest) - 0.005)
