"""The source model: trained on the source data, or published or local weights."""

from thawline.artifacts import Artifacts
from thawline.config.sections import Config
from thawline.machine import loading
from thawline.stage import run


def pretrain(config: Config, artifacts: Artifacts) -> None:
    with loading():
        from thawline.training.pretrain import pretrain

    pretrain(config, artifacts)


if __name__ == "__main__":
    run(__file__, pretrain, reads=("prepare/source",))
