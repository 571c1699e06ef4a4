"""What README.md and the page say: what was found, once for both templates."""

import math
from collections.abc import Mapping
from enum import Enum
from typing import Any

from thawline.answer import validated
from thawline.config.recipe import words
from thawline.config.sections import Config, Report, Start
from thawline.config.supervision import is_supervised
from thawline.data.naming import OWN, called
from thawline.evaluation.metrics import METRICS
from thawline.report import album, depths, recipes, wording
from thawline.report.costs import saved, stage_name, training_costs
from thawline.report.figures.confusion import confusion_counts, frequent_mistakes
from thawline.report.figures.style import Picture
from thawline.report.findings import FINETUNED, NAMES, PROBE, SCRATCH, Findings
from thawline.report.rewards import rewards
from thawline.report.sources import source, source_rows
from thawline.report.strategy import strategy
from thawline.wording import (
    Interval,
    amount,
    counted,
    duration,
    memory,
    percent,
    percent_with_range,
    rate,
    with_range,
)

METRIC_NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro-F1",
    "log_loss": "log-loss (nats)",
    "expected_calibration_error": "expected calibration error",
}
_FOLDED = 12
"""Classes above which the table of classes is folded away."""


def title(config: Config) -> str:
    """Return the chosen title; of one's own pictures, where none is chosen, the name they lie under."""
    dataset, chosen = config.target.dataset, config.report.title
    own = dataset is not None and dataset.name in OWN
    return called(config.target) or chosen if own and chosen == Report().title else chosen


def content(
    config: Config, findings: Findings, costs: dict[str, Any], pictures: Mapping[str, Picture]
) -> dict[str, Any]:
    """Return what the templates show, by name. In a text, `**` marks what is strong and a backtick code.

    Args:
        costs: from `collect_costs`.
        pictures: the figures by name.
    """
    rows, advised = contender_rows(findings), strategy(findings)
    return {
        "title": title(config),
        "answer": answer(findings),
        "uncertain": wording.uncertain(findings),
        "metrics": [METRIC_NAMES[name] for name in METRICS],
        "contenders": rows,
        "methods": any(row["method"] for row in rows),
        "rewards": rewards(findings),
        "left_out": [name for key, name in NAMES.items() if key not in findings.contenders],
        "coverage": wording.coverage(findings),
        "pictures": pictures,
        "recipe": recipe_rows(findings),
        "freezing": wording.freezing(findings, config.plan.minutes is not None),
        "depths": depths.rows(findings),
        "strategy": advised["sentences"] if advised["strategy"] else [],
        "tested": depths.tested(findings),
        "validated": validated(findings.recipes[FINETUNED].selected or {}),
        "source": source(config, findings),
        "sources": source_rows(findings),
        "target": called(config.target) or "the target",
        "classes": findings.metrics["data"]["classes"],
        "sizes": findings.metrics["data"]["sizes"],
        "taught": taught(findings),
        "several_seeds": any(len(findings.metrics[name]["seeds"]) > 1 for name in findings.recipes),
        "supervised": findings.supervised if is_supervised(config) else (),
        "voters": [
            (
                voter["name"],
                f"{voter['pictures']:,}",
                "–" if voter["right"] is None else f"{voter['right']:.1%}",
                voter["copy_of"] or "",
            )
            for voter in findings.voters
        ],
        "fingerprints": findings.metrics["data"]["fingerprints"],
        "per_class": class_rows(findings),
        "bundle": wording.bundle(findings),
        "mistakes": frequent_mistakes(findings),
        "folded": _FOLDED,
        "costs": cost_rows(costs),
        "trainings": training_rows(costs),
        "saved": saved(training_costs(costs)),
        "machine": costs["machine"],
        "reported": costs["reported"].replace("T", " ").replace("+00:00", " UTC"),
        **shown(findings),
    }


def shown(findings: Findings) -> dict[str, Any]:
    """Return what is to be seen of the pictures themselves, and what is known of all of them."""
    data, cells = findings.metrics["data"], album.cells(findings.mistakes)
    return {
        "facts": album.facts(findings.pictures, data["sizes"]),
        "class_counts": album.class_counts(data["sizes"]),
        "extremes": album.extremes(findings.pictures),
        "alike": album.alike(findings.pictures),
        "excluded": album.excluded(findings.pictures),
        "doubtful": album.doubtful(findings.doubts),
        "doubts": findings.doubts.told.get("sentence", ""),
        "more_pictures": album.more_pictures(findings.doubts),
        "worst": album.worst(findings.mistakes),
        "looked_at": album.looked_at(findings.mistakes),
        "cells": cells,
        "matrix": album.matrix(data["classes"], confusion_counts(findings), cells),
    }


def answer(findings: Findings) -> list[str]:
    """Return the first paragraph's sentences, then each warning."""
    against = [wording.compared(findings, other) for other in (SCRATCH, PROBE) if _other(findings, other)]
    lines = [" ".join(filter(None, [recipes.answer(findings), *against]))]
    lines += [*filter(None, [recipes.decided(findings)]), *wording.warnings(findings)]
    return lines + [line for line in (wording.one_class(findings), recipes.single_seed(findings)) if line]


def _other(findings: Findings, name: str) -> bool:
    """Tell if the fine-tuned recipe is another one than the contender's: the search may choose the linear
    probe's depth, and what is called fine-tuned may be configured to start random."""
    told = recipes.told(findings)
    return not (told.is_probe if name == PROBE else told.recipe.start is Start.random)


def contender_rows(findings: Findings) -> list[dict[str, Any]]:
    """Return what the table of contenders shows of each."""
    rows = []
    for name, shown in recipes.shown(findings).items():
        told = recipes.told(findings, name)
        rows.append(
            {
                "name": shown,
                "frozen": recipes.frozen_cell(told),
                "method": recipes.method_cell(told),
                "rates": words.rates(told),
                "values": [measured(name_, findings.metrics[name][name_]) for name_ in METRICS],
            }
        )
    return rows


def taught(findings: Findings) -> str:
    """Say how many pictures the final trainings learned from: with `finetune.refit`, which all contenders
    have or none, the validation pictures as well."""
    train, val = findings.size("train"), findings.size("val")
    if findings.recipes[FINETUNED].recipe.refit:
        return f"{counted(train + val, 'picture')}, validation pictures included,"
    return counted(train, "picture")


def measured(metric: str, interval: Interval) -> str:
    """Write a metric with its interval, for a cell."""
    if metric == "log_loss":
        return with_range(interval)
    return percent_with_range(interval)


def recipe_rows(findings: Findings) -> list[tuple[str, str]]:
    """List the fields of the fine-tuned contender's recipe that decided anything, and the last unit of a
    frozen prefix."""
    told = recipes.told(findings)
    rows = [(name, _shown(value)) for name, value in words.shown(told.recipe, told.at).items()]
    return rows + ([("last frozen unit", told.unit)] if told.unit else [])


def _shown(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, Enum):
        return str(value.name)
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, float) and value != 0 and not 0.01 <= abs(value) < 1000:
        return rate(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def class_rows(findings: Findings) -> list[dict[str, Any]]:
    """Return precision, recall and F1 of each class, fine-tuned."""
    table = findings.per_class[findings.per_class["contender"] == FINETUNED]
    return [
        {
            "label": row["label"],
            "support": row["support"],
            "scores": [
                "–" if math.isnan(score) else percent(score)
                for score in map(float, row[["precision", "recall", "f1"]])
            ],
        }
        for _, row in table.iterrows()
    ]


def cost_rows(costs: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the time of each stage that trains, and of all of these."""
    rows = []
    for stage, cost in costs["stages"].items():
        seconds, runs = cost["seconds"], cost["runs"]
        rows.append(
            {
                "stage": stage_name(stage),
                "seconds": duration(seconds),
                "runs": runs or "–",
                "each": duration(cost.get("each", seconds / runs)) if runs else "–",
            }
        )
    total = sum(cost["seconds"] for cost in costs["stages"].values())
    return [*rows, {"stage": "**all that train**", "seconds": duration(total), "runs": "", "each": ""}]


def training_rows(costs: dict[str, Any]) -> list[dict[str, str]]:
    """Return what one training of each contender costs, for the table's cells; no rows where none was
    measured."""
    rows = []
    for name, cost in training_costs(costs).items():
        share = cost["trainable_parameters"] / cost["total_parameters"]
        rows.append(
            {
                "name": NAMES[name],
                "trainable": f"{amount(cost['trainable_parameters'])} ({percent(share)})",
                "forward": amount(cost["forward_flops"], "FLOP"),
                "step": amount(cost["step_flops"], "FLOP"),
                "epoch": duration(cost["seconds_per_epoch"]),
                "pictures": amount(cost["pictures_per_second"]),
                "memory": memory(cost["peak_memory_bytes"]),
            }
        )
    return rows
