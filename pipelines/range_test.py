"""The loss over rising learning rates for the configured recipe, with a suggestion.

A tool to be called by hand before a recipe is written (`python pipelines/range_test.py finetune.depth=3`),
and no stage of dvc.yaml: what it suggests enters the pipeline only as a learning rate that somebody puts
into the configuration, so nothing would depend on its outputs, and `dvc repro` would pay for them.
"""

from thawline.artifacts import Artifacts
from thawline.config.sections import Config
from thawline.machine import loading
from thawline.stage import run


def range_test(config: Config, artifacts: Artifacts) -> None:
    with loading():
        from thawline.report.figures.range_test import write_range_test
        from thawline.training.range_test import range_test

    range_test(config, artifacts, draw=write_range_test)


if __name__ == "__main__":
    run(__file__, range_test, reads=("prepare/target", "replace_head", "supervise"))
