"""The parameters that separate the good trials from the others."""

import warnings
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from thawline.report.figures.study import RATES, Studied, label, studied
from thawline.report.figures.style import LIGHT, WIDTH, Picture, named_bars, percent_axis
from thawline.report.findings import FINETUNED, Findings
from thawline.report.wording import counted, percent

_BEST = 0.25
"""Share of the trials that count as good: of a few dozen, a tenth would be two or three."""
_FEW = 40
"""Complete trials below which shares are chance: over simulated studies of three parameters their standard
deviation is 0.2 with 40 trials, 0.15 with 60 and 0.13 with 120."""


def importance(findings: Findings) -> Picture | None:
    """Draw each parameter's share; None where few trials are complete or fewer than two parameters varied."""
    study = studied(findings, _FEW)
    if study is None or len(study.parameters) < 2:
        return None
    shares = importances(study)
    first = next(iter(shares))
    what = "number of frozen units" if first == "depth" else label(first)
    sentence = (
        f"Of what separates the best quarter of {counted(len(study.trials), 'complete trial')} from the "
        f"others, {percent(shares[first])} is the {what} (PED-ANOVA)."
    )

    def draw() -> Figure:
        figure = Figure(figsize=(WIDTH, 0.9 + 0.34 * len(shares)))
        axes = figure.add_subplot()
        named = {label(name): share for name, share in shares.items()}
        named_bars(axes, named, percent, [LIGHT.contenders[FINETUNED]] * len(named))
        axes.set_xlabel("share of the importance")
        percent_axis(axes.xaxis)
        return figure

    return Picture("importance", sentence, draw)


def importances(study: Studied) -> dict[str, float]:
    """Return the share of each parameter, the largest first; together they are 1.

    PED-ANOVA (Watanabe, Bansal and Hutter 2023), which also rates parameters that exist in some trials only,
    by Optuna on a study that is made again from the table.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    again = optuna.create_study(direction="maximize")
    kinds = {name: _distribution(study.trials[name].dropna()) for name in study.parameters}
    for _, row in study.trials.iterrows():
        own = {name: kinds[name] for name in study.parameters if pd.notna(row[name])}
        params = {name: _value(row[name], kind) for name, kind in own.items()}
        again.add_trial(
            optuna.trial.create_trial(params=params, distributions=own, value=float(row["value"]))
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=_BEST)
        return optuna.importance.get_param_importances(again, evaluator=evaluator)


def _distribution(values: pd.Series) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if values.name == "depth":
        return IntDistribution(int(values.min()), int(values.max()))
    if values.name in RATES:
        return FloatDistribution(float(values.min()), float(values.max()), log=True)
    return CategoricalDistribution(sorted(values.map(str).unique()))


def _value(value: Any, kind: Any) -> Any:
    return str(value) if hasattr(kind, "choices") else kind.to_external_repr(float(value))
