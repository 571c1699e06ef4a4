"""What each training picture's target is: written by the stage `supervise`, put on by all that train."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from thawline.artifacts import (
    CARD,
    COORDINATES,
    SUPERVISE,
    TARGETS,
    TAUGHT,
    TOLD,
    Artifacts,
    atomic_path,
    read_json,
    write_json,
)
from thawline.config.errors import UserError
from thawline.data.store import Store, discard_store, open_store, write_store

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Pseudo:
    """All n pictures that trainings see where pseudo-labelled ones are among them, and what these were
    labelled by: `images` and `manifest` as a store's, `targets` (n, classes), `coordinates` (n, r) as heads
    read them, and the heads' penalty and seed."""

    images: np.ndarray
    manifest: pd.DataFrame
    targets: np.ndarray
    coordinates: np.ndarray
    penalty: float
    seed: int


def open_training(artifacts: Artifacts) -> Store:
    """Open the training and validation pictures of the target as every training sees them: with the targets
    and the pseudo-labelled pictures that the stage `supervise` left, or with labels as they are where it left
    none or did not run.

    Raises `UserError` where targets were made for other pictures.
    """
    store, folder = open_store(artifacts.data("target")), artifacts.stage("supervise", TOLD)
    if not (folder / TARGETS).exists():
        return store
    if read_json(folder / CARD)["store"] != store.fingerprint:
        raise UserError(f"{folder} holds targets of other pictures.\n  Make them anew: dvc repro")
    if (folder / TAUGHT / CARD).exists():
        store = open_store(folder / TAUGHT)
    return store.taught(np.load(folder / TARGETS))


def write_supervision(
    folder: Path,
    found: dict[str, Any],
    store: Store | None,
    targets: np.ndarray | None = None,
    pseudo: Pseudo | None = None,
) -> None:
    """Write supervise.json, which holds `found`, and told/: the `targets` (n, classes) of the pictures of
    `store`, or `pseudo`, which has others among them; nothing to be told where both are None."""
    files, card = folder / TOLD, dict[str, Any](store=None)
    discard_store(files / TAUGHT)
    for name in (TARGETS, COORDINATES):
        (files / name).unlink(missing_ok=True)
    if pseudo is not None:
        assert store is not None, "there are no pictures to lie beside"
        targets = pseudo.targets
        write_store(files / TAUGHT, pseudo.images, pseudo.manifest, store.classes, store.transform)
        _write_array(files / COORDINATES, pseudo.coordinates)
        card |= {"penalty": pseudo.penalty, "seed": pseudo.seed}
    if store is not None and targets is not None:
        card["store"] = store.fingerprint
        _write_array(files / TARGETS, targets)
    write_json(files / CARD, card)
    write_json(folder / SUPERVISE, found)
    for sentence in found.get("sentences", ()):
        log.info("%s", sentence)


def _write_array(path: Path, values: np.ndarray) -> None:
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, np.asarray(values, np.float32))
