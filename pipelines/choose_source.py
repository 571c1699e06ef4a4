"""Which of several sources fine-tuning starts from, by the target's training and validation pictures."""

from thawline.artifacts import Artifacts
from thawline.config.sections import Config
from thawline.machine import loading
from thawline.stage import run


def choose_source(config: Config, artifacts: Artifacts) -> None:
    if len(config.source.candidates) < 2:
        from thawline.choose_source.decision import write_only

        write_only(config, artifacts)
        return
    with loading():
        from thawline.choose_source.choose_source import choose_source

    choose_source(config, artifacts)


if __name__ == "__main__":
    run(__file__, choose_source)
