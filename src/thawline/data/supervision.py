"""What each training picture's target is: written by the stage `supervise`, put on by all that train."""

import logging
from pathlib import Path
from typing import Any

import numpy as np

from thawline.artifacts import CARD, SUPERVISE, TARGETS, TAUGHT, Artifacts, atomic_path, read_json, write_json
from thawline.config.errors import UserError
from thawline.data.store import Store, open_store

log = logging.getLogger(__name__)


def open_training(artifacts: Artifacts) -> Store:
    """Open the training and validation pictures of the target as every training sees them: with the targets
    and the pseudo-labelled pictures that the stage `supervise` left, or with labels as they are where it left
    none or did not run.

    Raises `UserError` where targets were made for other pictures.
    """
    store, folder = open_store(artifacts.data("target")), artifacts.stage("supervise")
    if not (folder / TARGETS).exists():
        return store
    if read_json(folder / SUPERVISE).get("store") != store.fingerprint:
        raise UserError(f"{folder} holds targets of other pictures.\n  Make them anew: dvc repro")
    if (folder / TAUGHT / CARD).exists():
        store = open_store(folder / TAUGHT)
    return store.taught(np.load(folder / TARGETS))


def write_supervision(folder: Path, found: dict[str, Any], store: Store | None, targets: Any = None) -> None:
    """Write supervise.json, which holds `found`, and the `targets` (n, classes) of the pictures of `store`,
    or of those in the folder's store of taught ones; no targets where they are None."""
    (folder / TARGETS).unlink(missing_ok=True)
    if targets is not None:
        with atomic_path(folder / TARGETS) as path, path.open("wb") as file:
            np.save(file, np.asarray(targets, np.float32))
    told = None if store is None or targets is None else store.fingerprint
    write_json(folder / SUPERVISE, {**found, "store": told})
    for sentence in found.get("sentences", ()):
        log.info("%s", sentence)
