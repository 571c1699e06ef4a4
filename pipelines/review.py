"""Labels worth a second look, and whether more pictures would help."""

from thawline.artifacts import Artifacts
from thawline.config.sections import Config
from thawline.machine import loading
from thawline.stage import run


def review(config: Config, artifacts: Artifacts) -> None:
    with loading():
        from thawline.plan.decisions import planned
        from thawline.review.review import review

    review(config, artifacts, planned(config, artifacts).finetune.head_cuts)


if __name__ == "__main__":
    run(__file__, review, reads=("prepare/target", "replace_head", "plan"))
