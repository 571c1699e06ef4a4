"""Which figures there are."""

from typing import Any

from thawline.report.figures.confusion import confusion
from thawline.report.figures.contenders import contenders
from thawline.report.figures.cost import cost
from thawline.report.figures.depth import accuracy_by_depth
from thawline.report.figures.rates import learning_rates
from thawline.report.figures.reliability import reliability
from thawline.report.figures.style import Picture
from thawline.report.figures.training import training_curves
from thawline.report.findings import Findings

_ALL = (contenders, accuracy_by_depth, learning_rates, training_curves, confusion, reliability)


def gallery(findings: Findings, costs: dict[str, Any]) -> dict[str, Picture]:
    """Every figure there is something to show for, by name."""
    drawn = [*(make(findings) for make in _ALL), cost(costs)]
    return {picture.name: picture for picture in drawn if picture is not None}
