"""Predictions and metrics of every contender on the test split."""

from thawline.artifacts import Artifacts
from thawline.config.sections import Config
from thawline.stage import run

UPSTREAM = ("source", "target", "input", "seed", "model", "pretrain", "search", "finetune")


def evaluate(config: Config, artifacts: Artifacts) -> None:
    from thawline.evaluation.evaluate import evaluate

    evaluate(config, artifacts)


if __name__ == "__main__":
    run(__file__, evaluate, upstream=UPSTREAM)
