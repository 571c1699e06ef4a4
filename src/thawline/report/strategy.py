"""strategy.json: which strategy of fine-tuning suits these pictures, why, and what would change the answer.

Nothing here has seen the test pictures: it is told from how many pictures there are to learn from, and from
heads and trials that were judged on pictures they had not learnt from.
"""

from dataclasses import asdict
from typing import Any

import pandas as pd

from thawline.report.findings import FINETUNED, Findings
from thawline.strategy.measured_rule import RULE
from thawline.strategy.rule import Facts, advise
from thawline.strategy.words import sentences
from thawline.wording import percent

NO_HEADS = (
    "No strategy is advised: no heads on frozen features were compared, because the contender "
    "`linear_probe` was left out or the head is not linear."
)
NO_RULE = "No strategy is advised: too few subsets are measured for a rule (docs/strategy.md)."


def strategy(findings: Findings) -> dict[str, Any]:
    """Return the content of strategy.json: `strategy`, its `sentences` and the `facts` they rest on; where
    nothing is advised, a sentence that says why."""
    facts = facts_of(findings)
    if facts is None or RULE is None:
        return {"strategy": None, "sentences": [NO_HEADS if facts is None else NO_RULE]}
    advice = advise(facts, RULE)
    told = sentences(advice, unfreezing(findings, facts))
    return {"strategy": advice.side.strategy, "sentences": told, "facts": asdict(facts)}


def facts_of(findings: Findings) -> Facts | None:
    """Return what is known before any fine-tuning; None where no heads were compared."""
    if findings.cuts is None:
        return None
    table = findings.cuts.assign(cuts=findings.cuts["cuts"].astype(str))
    single = table[~table["cuts"].str.contains(" ")].drop_duplicates("cuts")
    depths, accuracies = single["cuts"].astype(int).to_numpy(), single["accuracy"].to_numpy(float)
    chosen = table.loc[table["chosen"].astype(bool), "accuracy"].to_numpy(float)
    return Facts(
        pictures=findings.size("train"),
        classes=len(findings.metrics["data"]["classes"]),
        last=float(accuracies[depths.argmax()]),
        best=float(chosen[0]),
        peak=float(depths[single["loss"].to_numpy(float).argmin()] / depths.max()),
    )


def unfreezing(findings: Findings, facts: Facts) -> str:
    """Say what unfreezing gained in the search's own trials; empty where it did not try both."""
    trials = findings.ranked(FINETUNED)
    if trials is None or findings.units is None or facts.classes < 2:
        return ""
    frozen = trials["depth"] == findings.units
    if frozen.all() or not frozen.any():
        return ""

    def best(some: pd.DataFrame) -> str:
        return percent(float(some["value"].max()))

    return (
        f"the best trial of this search that unfroze something got {best(trials[~frozen])} of its pictures "
        f"right, with everything frozen {best(trials[frozen])}"
    )
