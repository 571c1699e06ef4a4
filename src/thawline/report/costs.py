"""What every stage cost, collected."""

from datetime import UTC, datetime
from typing import Any

from thawline.report.findings import NAMES, Findings
from thawline.report.machine import describe_machine


def collect_costs(findings: Findings) -> dict[str, Any]:
    """`stages`: the costs.json of each with its time in `seconds` and the number of `runs` in it;
    `machine` and `reported` (date and time, UTC) of the report itself."""
    return {
        "stages": {stage: {**cost, **_time(findings, stage)} for stage, cost in findings.costs.items()},
        "machine": describe_machine(),
        "reported": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _time(findings: Findings, stage: str) -> dict[str, Any]:
    kind, _, contender = stage.partition("/")
    seconds = float(findings.costs[stage].get("seconds") or 0)
    trials = findings.trials.get(contender)
    if kind == "search":
        # a resumed search measures its last call only, its trials remember all of them
        spent = 0.0 if trials is None else float(trials["seconds"].sum())
        return {"seconds": max(seconds, spent), "runs": 0 if trials is None else len(trials)}
    if kind == "finetune":
        return {"seconds": seconds, "runs": int(findings.histories[contender]["seed"].nunique())}
    return {"seconds": seconds, "runs": int(findings.source_history is not None)}


def stage_name(stage: str) -> str:
    """`search/finetuned` as people read it: `search, fine-tuned`."""
    kind, _, contender = stage.partition("/")
    return f"{kind}, {NAMES.get(contender, contender)}" if contender else kind
