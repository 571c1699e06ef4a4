"""The bundle that `thawline predict` uses, and the model in the other formats that are asked for."""

from thawline.artifacts import Artifacts
from thawline.config.sections import Config
from thawline.machine import loading
from thawline.stage import run


def export(config: Config, artifacts: Artifacts) -> None:
    with loading():
        from thawline.serving.export import export

    export(config, artifacts)


if __name__ == "__main__":
    run(
        __file__,
        export,
        reads=("prepare/target", "replace_head", "supervise", "search/finetuned", "finetune/finetuned"),
    )
