"""The list of all figures."""

from typing import Any

from thawline.report.figures.best_so_far import best_so_far
from thawline.report.figures.confusion import confusion
from thawline.report.figures.contenders import contenders
from thawline.report.figures.cost import cost
from thawline.report.figures.cuts import accuracy_by_cut
from thawline.report.figures.depth import accuracy_by_depth
from thawline.report.figures.depth_and_rate import depth_and_rate
from thawline.report.figures.evidence import measured_by_depth
from thawline.report.figures.more_pictures import more_pictures
from thawline.report.figures.pareto import pareto_front
from thawline.report.figures.rates import learning_rates
from thawline.report.figures.reliability import reliability
from thawline.report.figures.sources import sources
from thawline.report.figures.style import Picture
from thawline.report.figures.training import training_curves
from thawline.report.findings import Findings

_ALL = (
    contenders,
    measured_by_depth,
    accuracy_by_depth,
    accuracy_by_cut,
    depth_and_rate,
    learning_rates,
    pareto_front,
    best_so_far,
    training_curves,
    confusion,
    reliability,
    more_pictures,
    sources,
)


def gallery(findings: Findings, costs: dict[str, Any]) -> dict[str, Picture]:
    """Return every figure there is something to show for, by name."""
    drawn = [*(make(findings) for make in _ALL), cost(costs)]
    return {picture.name: picture for picture in drawn if picture is not None}
