"""Pictures in, a decoded-once store out: of the source, or of the target (with its test split apart)."""

from thawline.artifacts import Artifacts
from thawline.config.sections import Config
from thawline.stage import run


def prepare(config: Config, artifacts: Artifacts) -> None:
    from thawline.data.prepare import prepare
    from thawline.data.transform import transform_of

    if config.source.weights is None:
        transform = transform_of(config.input)
    else:
        from thawline.models.preprocessing import transform_for

        transform = transform_for(config)
    prepare(config, transform, artifacts)


if __name__ == "__main__":
    run(__file__, prepare)
