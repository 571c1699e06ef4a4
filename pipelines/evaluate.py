"""Predictions and metrics of every contender on the test split."""

from thawline.artifacts import Artifacts
from thawline.config.sections import Config
from thawline.stage import run

FINETUNED = ("finetune/finetuned", "finetune/linear_probe", "finetune/from_scratch")


def evaluate(config: Config, artifacts: Artifacts) -> None:
    from thawline.evaluation.evaluate import evaluate

    evaluate(config, artifacts)


if __name__ == "__main__":
    reads = ("prepare/target", "prepare/test", "replace_head", "search/finetuned", *FINETUNED)
    run(__file__, evaluate, reads=reads)
