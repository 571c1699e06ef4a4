"""The ground of the figures of a whole study: the fine-tuned contender's trials, and what varied in them."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd

from thawline.config.recipe.fields import Finetune
from thawline.report.findings import FINETUNED, Findings
from thawline.report.wording import rate

FEW = 20
"""Complete trials below which such a figure would mostly show chance."""

RATES = ("head_lr", "body_lr")
_LABELS = {"depth": "frozen units", "head_lr": "head rate", "body_lr": "body rate"}
_RECORDED = ("epochs", "seeds")
"""Columns of trials.csv that are no parameters, though a recipe has fields of these names."""


@dataclass(frozen=True, eq=False)
class Studied:
    """The complete `trials`, and the names of the `parameters` that took more than one value in them."""

    trials: pd.DataFrame
    parameters: list[str]


def studied(findings: Findings, fewest: int = FEW) -> Studied | None:
    """Collect the trials; None where fewer are complete, where nothing varied, and where all were equally
    good."""
    complete = findings.ranked(FINETUNED)
    if complete is None or len(complete) < fewest or complete["value"].nunique() < 2:
        return None
    names = [field.name for field in fields(Finetune) if field.name not in _RECORDED]
    varied = [name for name in names if name in complete and complete[name].nunique() > 1]
    return Studied(complete, sorted(varied, key=_order)) if varied else None


def _order(name: str) -> tuple[int, str]:
    return (list(_LABELS).index(name) if name in _LABELS else len(_LABELS), name)


def label(parameter: str) -> str:
    """Write a parameter's name as people read it."""
    return _LABELS.get(parameter, parameter.replace("_", " "))


def shown(parameter: str, value: Any) -> str:
    """Write a parameter's value as people read it; `–` where the parameter did not exist."""
    if pd.isna(value):
        return "–"
    if parameter in RATES:
        return rate(value)
    return f"{value:g}" if isinstance(value, int | float | np.number) else str(value)
