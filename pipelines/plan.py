"""What is done in the minutes there are, decided once; and a first model that can be used meanwhile."""

from thawline.artifacts import Artifacts
from thawline.config.sections import Config
from thawline.machine import loading
from thawline.stage import run


def plan(config: Config, artifacts: Artifacts) -> None:
    if config.plan.minutes is None:
        from thawline.plan.decisions import decide_nothing

        decide_nothing(artifacts)
        return
    with loading():
        from thawline.plan.plan import plan

    plan(config, artifacts)


if __name__ == "__main__":
    run(__file__, plan, reads=("prepare/target", "replace_head", "supervise"))
