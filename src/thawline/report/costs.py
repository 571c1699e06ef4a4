"""The costs of every stage, collected, and those of one training of each contender."""

from collections.abc import Mapping
from datetime import UTC, datetime
from statistics import mean
from typing import Any

import numpy as np
import pandas as pd

from thawline.report.findings import FINETUNED, NAMES, SCRATCH, Findings
from thawline.report.machine import describe_machine
from thawline.wording import listed, percent

_WORTH_TELLING = 0.005
"""Smallest share saved that the text tells of."""


def collect_costs(findings: Findings) -> dict[str, Any]:
    """Return `stages`: the costs.json of each with its time in `seconds` and the number of `runs` in it;
    `machine` and `reported` (date and time, UTC) of the report itself."""
    return {
        "stages": {stage: {**cost, **_time(findings, stage)} for stage, cost in findings.costs.items()},
        "machine": describe_machine(),
        "reported": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _time(findings: Findings, stage: str) -> dict[str, Any]:
    """Return the seconds a stage took, and the number of trainings in it; of a search, in which trials run
    side by side, and other trainings beside them, the seconds of `each` trial."""
    kind, _, contender = stage.partition("/")
    seconds = float(findings.costs[stage].get("seconds") or 0)
    trials = findings.trials.get(contender)
    if kind == "search":
        if trials is None:
            return {"seconds": seconds, "runs": 0}
        # a resumed search measures its last call only, its trials remember all of them
        spent, each = max(seconds, _searched(trials)), float(trials["seconds"].mean())
        return {"seconds": spent, "runs": len(trials), "each": each}
    if kind == "finetune":
        return {"seconds": seconds, "runs": int(findings.histories[contender]["seed"].nunique())}
    return {"seconds": seconds, "runs": int(findings.source_history is not None)}


def _searched(trials: pd.DataFrame) -> float:
    """Return the seconds for which at least one of the trials was running; where that is not known, what all
    of them took."""
    if {"started", "finished"} <= set(trials) and trials[["started", "finished"]].notna().all(axis=None):
        ordered = trials.sort_values("finished", kind="stable")
        return float(busy(ordered["started"].to_numpy(), ordered["finished"].to_numpy())[-1])
    return float(trials["seconds"].sum())


def busy(started: np.ndarray, finished: np.ndarray) -> np.ndarray:
    """Return, by the end of each trial, for how many seconds at least one had been running: the night between
    two calls of a search is none of its time. `finished` is in increasing order."""
    order = np.argsort(started, kind="stable")
    reached = np.maximum.accumulate(finished[order])
    idle = np.maximum(0, started[order][1:] - reached[:-1])
    before = np.array([idle[started[order][1:] <= end].sum() for end in finished])
    return finished - started.min() - before


def training_costs(costs: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return by contender the means over the seeds of what each training measured (`training.cost.measured`).

    A contender is left out unless all of its seeds say what they cost: those trained by earlier versions do
    not, nor those whose operations could not be counted.

    costs: from `collect_costs`.
    """
    found = {}
    for name in NAMES:
        seeds = costs["stages"].get(f"finetune/{name}", {}).get("seeds", {}).values()
        measured = [seed["cost"] for seed in seeds if "step_flops" in seed.get("cost", {})]
        if measured and len(measured) == len(seeds):
            found[name] = {key: mean(each[key] for each in measured) for key in measured[0]}
    return found


def saved(trainings: Mapping[str, Mapping[str, float]]) -> str | None:
    """Say what the fine-tuned contender's training saves against training everything from scratch; None where
    either is missing or hardly anything is saved."""
    if not {FINETUNED, SCRATCH} <= trainings.keys():
        return None
    ours, theirs = trainings[FINETUNED], trainings[SCRATCH]
    words = []
    for key, what in (
        ("trainable_parameters", "parameters to train"),
        ("step_flops", "operations per training step"),
        ("seconds_per_epoch", "time per epoch"),
    ):
        share = 1 - ours[key] / theirs[key]
        # time that is not explained by fewer operations was saved by chance
        by_chance = key == "seconds_per_epoch" and ours["step_flops"] >= theirs["step_flops"]
        if share > _WORTH_TELLING and not by_chance:
            words.append(f"{percent(share)} of the {what}")
    if not words:
        return None
    return f"Against training everything from scratch, the fine-tuned contender saves {listed(words)}."


def stage_name(stage: str) -> str:
    """Write `search/finetuned` as people read it: `search, fine-tuned`."""
    kind, _, contender = stage.partition("/")
    return f"{kind}, {NAMES.get(contender, contender)}" if contender else kind
