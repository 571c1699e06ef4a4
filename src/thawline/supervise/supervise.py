"""The stage: one row of shares of the classes for each training picture, where labels are not enough."""

from thawline.artifacts import Artifacts
from thawline.config.sections import Config
from thawline.data.supervision import write_supervision

NOTHING = "Every picture counts alike, as what its label says."


def supervise(config: Config, artifacts: Artifacts) -> None:
    """Write supervise.json and, where pictures are told more than their labels, targets.npy."""
    folder = artifacts.stage_output("supervise")
    if not config.supervised:
        write_supervision(folder, {"sentences": [NOTHING]}, None)
