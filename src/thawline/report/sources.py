"""Where fine-tuning starts, and which other sources there were."""

import math
from typing import Any

from thawline.config.sections import Config, Start
from thawline.data.naming import called
from thawline.report.findings import FINETUNED, Findings
from thawline.wording import amount, counted, percent, points_with_range


def source(config: Config, findings: Findings) -> str:
    """Say where the weights come from that fine-tuning starts with."""
    name = config.model.architecture
    if findings.recipes[FINETUNED].recipe.start is Start.random:
        return f"{name} with random weights"
    if config.source.weights is not None:
        return f"{name} with the weights `{config.source.weights}`"
    data = called(config.source) or "the source"
    history = findings.source_history
    if history is None or history["val_accuracy"].isna().all():
        return f"{name}, pretrained on {data}"
    last = history.sort_values("epoch")["val_accuracy"].iloc[-1]
    return (
        f"{name}, pretrained on {data} for {counted(len(history), 'epoch')} "
        f"({percent(last)} of its own validation pictures right)"
    )


def source_rows(findings: Findings) -> list[dict[str, Any]]:
    """Return what the table of sources shows of each, the most accurate first; none where there was one."""
    if findings.sources is None:
        return []
    table = findings.sources.sort_values("accuracy", ascending=False, kind="stable")
    return [
        {
            "name": row["source"],
            "chosen": row["chosen"],
            "accuracy": percent(row["accuracy"]),
            "minus_best": points_with_range(
                {"mean": row["minus_best"], "low": row["low"], "high": row["high"]}
            ),
            "neighbours": percent(row["neighbours"]),
            # infinite where they could not be counted
            "operations": "–" if math.isinf(row["operations"]) else amount(row["operations"], "FLOP"),
            "seconds": f"{row['seconds']:.3f}",
        }
        for _, row in table.iterrows()
    ]
