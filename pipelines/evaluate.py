"""Predictions and metrics of every contender on the test split."""

from thawline.artifacts import Artifacts
from thawline.config.sections import Config
from thawline.machine import loading
from thawline.stage import run


def evaluate(config: Config, artifacts: Artifacts) -> None:
    with loading():
        from thawline.evaluation.evaluate import evaluate
        from thawline.evaluation.record import record
        from thawline.plan.decisions import planned

    decided = planned(config, artifacts)
    evaluate(decided, artifacts)
    record(decided, artifacts)


if __name__ == "__main__":
    reads = ("prepare/target", "prepare/test", "replace_head", "plan", "search/finetuned", "export")
    run(__file__, evaluate, reads=(*reads, "finetune/{contender}"))
