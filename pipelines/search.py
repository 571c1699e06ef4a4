"""The recipe of every contender: depth and learning rates chosen on the validation pictures."""

from thawline.artifacts import Artifacts
from thawline.config.sections import Config
from thawline.machine import loading
from thawline.stage import run


def search(config: Config, artifacts: Artifacts) -> None:
    with loading():
        from thawline.plan.decisions import planned
        from thawline.search.search import search

    search(planned(config, artifacts), artifacts)


if __name__ == "__main__":
    run(__file__, search, reads=("prepare/target", "replace_head", "supervise", "plan"))
