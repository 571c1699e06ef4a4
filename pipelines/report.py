"""The page and figures in reports/, and what everything cost."""

from thawline.artifacts import Artifacts
from thawline.config.sections import Config
from thawline.machine import loading
from thawline.stage import run


def report(config: Config, artifacts: Artifacts) -> None:
    with loading():
        from thawline.plan.decisions import planned
        from thawline.report.report import report

    report(planned(config, artifacts), artifacts)


if __name__ == "__main__":
    reads = ("prepare/pictures", "pretrain", "supervise", "plan", "review", "evaluate")
    run(__file__, report, reads=(*reads, "search/{contender}", "finetune/{contender}"))
