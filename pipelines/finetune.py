"""The target models of every contender: its chosen recipe, once per seed."""

from thawline.artifacts import Artifacts
from thawline.config.sections import Config
from thawline.machine import loading
from thawline.stage import run


def finetune(config: Config, artifacts: Artifacts) -> None:
    with loading():
        from thawline.plan.decisions import planned
        from thawline.training.finetune import finetune

    finetune(planned(config, artifacts), artifacts)


if __name__ == "__main__":
    run(
        __file__,
        finetune,
        reads=("prepare/target", "replace_head", "supervise", "plan", "search/{contender}"),
    )
