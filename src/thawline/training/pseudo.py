"""Pseudo-labels made anew without the pictures of a fold, which would otherwise have taught them."""

from collections.abc import Callable
from functools import cache

import numpy as np

from thawline.artifacts import CARD, COORDINATES, TOLD, Artifacts, read_json
from thawline.config.sections import Finetune
from thawline.data.store import PSEUDO, Store
from thawline.training.head_cuts import targets_of
from thawline.training.solve.self_training import Known, pseudo_labels

Relabelled = Callable[[Store, np.ndarray], Store]
"""Returns pictures that were divided with the targets that their pseudo-labelled ones have where of the whole
store's labelled pictures only those at the given rows are known."""


def relabelled(artifacts: Artifacts, store: Store) -> Relabelled | None:
    """Return what labels the pseudo-labelled pictures of `store` anew; None where it has none.

    Which pictures have pseudo-labels, and what heads read of them, stays as all training pictures decided.
    """
    folder, pseudo = artifacts.stage("supervise", TOLD), (store.manifest["split"] == PSEUDO).to_numpy()
    if not pseudo.any():
        return None
    rows = np.load(folder / COORDINATES).astype(float)
    card = read_json(folder / CARD)
    targets = targets_of(store, len(store.classes), Finetune())

    @cache
    def labels(taught: bytes) -> np.ndarray:
        known = np.frombuffer(taught, np.int64)
        asked = Known(rows[known], targets.rows(known), rows[pseudo], card["penalty"])
        return pseudo_labels(asked, card["seed"])

    def again(divided: Store, taught: np.ndarray) -> Store:
        assert divided.targets is not None, "pseudo-labelled pictures have targets"
        targets = divided.targets.copy()
        targets[divided.manifest["split"] == PSEUDO] = labels(taught.astype(np.int64).tobytes())
        return divided.taught(targets)

    return again
