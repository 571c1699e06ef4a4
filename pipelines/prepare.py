"""Pictures in, a decoded-once store out: of the source, or of the target (with its test split apart)."""

from thawline.artifacts import Artifacts
from thawline.config.sections import Config
from thawline.machine import loading
from thawline.stage import run


def prepare(config: Config, artifacts: Artifacts) -> None:
    with loading():
        from thawline.data.prepare import prepare
        from thawline.models.preprocessing import transform_for

    prepare(config, transform_for, artifacts)


if __name__ == "__main__":
    run(__file__, prepare)
