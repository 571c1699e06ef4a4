"""The stage: one row of shares of the classes for each training picture, where labels are not enough."""

import logging
from dataclasses import asdict
from typing import Any

import numpy as np

from thawline.artifacts import VOTES, Artifacts
from thawline.config.choices import Doubt
from thawline.config.sections import Config
from thawline.data.store import Store, open_store
from thawline.data.supervision import write_supervision
from thawline.data.votes import read_votes

log = logging.getLogger(__name__)

NOTHING = "Every picture counts alike, as what its label says."


def supervise(config: Config, artifacts: Artifacts) -> None:
    """Write supervise.json and told/, what trainings are told where that is more than labels."""
    folder, data = artifacts.stage_output("supervise"), artifacts.data("target")
    by_votes, doubting = (data / VOTES).exists(), config.supervise.doubt is Doubt.weigh
    said: dict[str, Any] = {"sentences": [], "warnings": [], "voters": []}
    if not (by_votes or doubting or config.target.unlabelled is not None):
        write_supervision(folder, said | {"sentences": [NOTHING]}, None)
        return
    store, targets, pseudo = open_store(data), None, None
    if by_votes:
        targets = _voted(store, artifacts, said)
    if doubting:
        targets = _weighed(config, artifacts, store, targets, said)
    if config.target.unlabelled is not None:
        # torch takes seconds to load
        from thawline.models.device import prepare_machine
        from thawline.supervise.unlabelled import learn_from_unlabelled

        prepare_machine(config.trainer)
        told = store if targets is None else store.taught(targets)
        found, pseudo = learn_from_unlabelled(config, artifacts, told)
        said |= found | {"sentences": [*said["sentences"], *found["sentences"]]}
    for warning in said["warnings"]:
        log.warning("%s", warning)
    write_supervision(folder, said, store, targets, pseudo)


def _voted(store: Store, artifacts: Artifacts, said: dict[str, Any]) -> np.ndarray:
    """Return what voters say of each picture, and note who they are."""
    from thawline.supervise.voted import voted

    votes = read_votes(artifacts.data("target"), store.classes)
    assert votes is not None
    validating = (store.manifest["split"] == "val").to_numpy()
    found = voted(votes, store.labels, len(store.classes), validating)
    said["voters"] = [asdict(each) for each in found.voters]
    said["sentences"] += found.sentences
    said["warnings"] += found.warnings
    return found.shares


def _weighed(
    config: Config, artifacts: Artifacts, store: Store, targets: np.ndarray | None, said: dict[str, Any]
) -> np.ndarray:
    """Return targets, or labels as such, by how much each picture counts, and note how many count less.

    Only labels of training pictures doubt each other: validation pictures weigh 1, and so does what was voted
    for, whose shares say what is doubtful.
    """
    # torch takes seconds to load
    from thawline.supervise.doubt import sentence, weights_of

    rows = np.eye(len(store.classes))[store.labels] if targets is None else targets
    train, weights = store.part("train"), np.ones(len(store))
    found = weights_of(config, artifacts, train)
    weights[: len(train)] = found.weights
    said["sentences"].append(sentence(found))
    said["doubted"] = int((found.doubts < 1).sum())
    return rows * weights[:, None]
