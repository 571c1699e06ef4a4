"""What each training picture's target is: its label, or what votes and doubts make of it."""

from thawline.artifacts import Artifacts
from thawline.config.sections import Config
from thawline.machine import loading
from thawline.stage import run


def supervise(config: Config, artifacts: Artifacts) -> None:
    with loading():
        from thawline.supervise.supervise import supervise

    supervise(config, artifacts)


if __name__ == "__main__":
    run(__file__, supervise, reads=("prepare/target", "prepare/unlabelled", "replace_head"))
