"""The stage: one row of shares of the classes for each training picture, where labels are not enough."""

from thawline.artifacts import Artifacts
from thawline.config.sections import Config
from thawline.data.store import open_store
from thawline.data.supervision import write_supervision

NOTHING = "Every picture counts alike, as what its label says."


def supervise(config: Config, artifacts: Artifacts) -> None:
    """Write supervise.json and told/, what trainings are told where that is more than labels."""
    folder = artifacts.stage_output("supervise")
    if not config.supervised:
        write_supervision(folder, {"sentences": [NOTHING]}, None)
        return
    # torch takes seconds to load
    from thawline.models.device import prepare_machine
    from thawline.supervise.unlabelled import learn_from_unlabelled

    prepare_machine(config.trainer)
    store = open_store(artifacts.data("target"))
    found, pseudo = learn_from_unlabelled(config, artifacts, store)
    write_supervision(folder, found, store, None, pseudo)
