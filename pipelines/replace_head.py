"""The initial target model: the source model with a new head for the target's classes."""

from thawline.artifacts import Artifacts
from thawline.config.sections import Config
from thawline.machine import loading
from thawline.stage import run


def replace_head(config: Config, artifacts: Artifacts) -> None:
    with loading():
        from thawline.models.replace_head import replace_head

    replace_head(config, artifacts)


if __name__ == "__main__":
    run(__file__, replace_head, reads=("pretrain", "prepare/target"))
