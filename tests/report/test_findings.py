"""What the figures and the page are made of."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import optuna
import pytest

from thawline.config.sections import Objective
from thawline.report.figures.depth import depth_curve
from thawline.report.figures.rates import learning_rates
from thawline.report.findings import Findings
from thawline.search.results.tables import trials_table
from thawline.search.study.study import best

Found = Callable[..., Findings]


def study_of(trials: list[dict[str, Any]], objective: Objective) -> optuna.Study:
    """A study with trials of one depth, each with a value, a loss and what its training costs."""
    both = objective is Objective.accuracy_and_cost
    study = optuna.create_study(directions=["maximize", "minimize"] if both else ["maximize"])
    for number, each in enumerate(trials):
        study.add_trial(
            optuna.trial.create_trial(
                values=[each["value"], each["cost"]] if both else [each["value"]],
                params={"head_lr": 10.0 ** -(number + 1)},
                distributions={"head_lr": optuna.distributions.FloatDistribution(0, 1)},
                user_attrs={
                    "depth": each.get("depth", 0),
                    "val_loss": each["loss"],
                    "training_flops": each["cost"],
                },
            )
        )
    return study


TIED = [
    {"value": 0.8, "loss": 0.1, "cost": 1.0},
    {"value": 0.9, "loss": 0.4, "cost": 2.0},
    {"value": 0.9, "loss": 0.3, "cost": 3.0},
    {"value": 0.9, "loss": 0.3, "cost": 3.0},
    {"value": 0.9, "loss": 0.5, "cost": 1.0},
] * 8
"""So many, because few equal rows keep their order under any way of sorting."""


@pytest.mark.parametrize("objective", Objective)
def test_trials_are_ranked_as_the_study_ranks_them(objective: Objective, found: Found) -> None:
    study = study_of(TIED, objective)
    findings = replace(found(), objective=objective, trials={"finetuned": trials_table(study, None)})
    ranked = findings.ranked("finetuned")
    left, order = study.get_trials(), []
    while (first := best(left)) is not None:
        left.remove(first)
        order.append(first.number)
    assert ranked is not None
    assert ranked["number"].tolist() == order


@pytest.mark.parametrize(
    ("objective", "rate"), [(Objective.accuracy, "1e-3"), (Objective.accuracy_and_cost, "1e-5")]
)
def test_the_rates_that_are_told_are_those_of_the_studys_best(
    objective: Objective, rate: str, found: Found
) -> None:
    table = trials_table(study_of(TIED[:5], objective), None)
    picture = learning_rates(replace(found(), objective=objective, trials={"finetuned": table}))
    assert picture is not None
    assert f"the best learning rates were {rate} for fine-tuned" in picture.sentence


def test_of_depths_that_are_alike_the_curve_stands_at_the_studys_best(found: Found) -> None:
    trials = [
        {"depth": depth, "value": 0.9, "loss": loss, "cost": 1.0} for depth, loss in ((1, 0.4), (2, 0.3))
    ]
    table = trials_table(study_of(trials, Objective.accuracy), None)
    curve = depth_curve(replace(found(depth=3), trials={"finetuned": table}))
    assert curve is not None
    assert curve.top["depth"] == 2
