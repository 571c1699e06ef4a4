"""Pictures without a label: which teach, as what, and whether that can be shown to help."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from thawline.artifacts import Artifacts
from thawline.config.sections import Config, Finetune
from thawline.data.store import PSEUDO, Store, open_store
from thawline.data.supervision import Pseudo
from thawline.data.unlabelled import UNLABELLED
from thawline.models.answer import as_rows, scores
from thawline.statistics.conformal import threshold_for
from thawline.statistics.intervals import Interval
from thawline.statistics.paired import difference_interval
from thawline.training.answering import NEIGHBOURS, from_others
from thawline.training.head_cuts import initial_cuts, targets_of
from thawline.training.solve.choice import MOST_ROWS, choose_cuts, deciding_rows
from thawline.training.solve.features import rotated, standardised
from thawline.training.solve.self_training import WEIGHT, Known, out_of_fold, pseudo_labels
from thawline.training.solve.targets import Targets
from thawline.wording import counted

MOST = 2000
"""Pictures that may teach: of more, so many are drawn. Each costs a fine-tuning as much as a labelled one."""

Cuts = dict[int, np.ndarray]


@dataclass(frozen=True, eq=False)
class SelfTrained:
    """What was found about M unlabelled pictures that are like the labelled ones.

    `rows` (M,) are theirs in the store of unlabelled pictures, `unlike` counts the others, `cuts` are those
    that heads read; `pseudo` (M, classes) are the targets of those that teach, 0 for others. `right` (2, N)
    is how often heads are right on each of the training pictures that decide (`deciding_rows`) while they did
    not see it, without and with pseudo-labels, None where nothing could be left out; `clusters` (N,) says
    which belong together. `coordinates` are what heads read of training and validation pictures, and of
    these.
    """

    rows: np.ndarray
    unlike: int
    cuts: tuple[int, ...]
    pseudo: np.ndarray
    right: np.ndarray | None
    clusters: np.ndarray
    penalty: float
    coordinates: tuple[np.ndarray, np.ndarray]

    def gain(self, confidence: float) -> Interval:
        """Return the interval of what is gained in accuracy (0..1): all that is possible where nothing could
        be left out. There is one way only, so it is not the best of several."""
        if self.right is None:
            return -1.0, 1.0
        return difference_interval(self.right[1:], self.right[:1], self.clusters, confidence)

    def kept(self, confidence: float) -> bool:
        """Tell whether pictures teach: some do, and the gain is above zero by more than chance."""
        return self.gain(confidence)[0] > 0 and bool(self.pseudo.any())


def self_trained(
    labelled: Cuts,
    more: Cuts,
    train: np.ndarray,
    targets: Targets,
    *,
    unknown_share: float,
    repeats: int,
    seed: int,
) -> SelfTrained:
    """Find which unlabelled pictures teach, and what they are worth to a solved head.

    Left out are pictures that the unknown score finds unlike the training ones: their fifth nearest is
    further away than that of nearly all training pictures. Only training pictures teach and judge, of more
    those that decide; the cuts and the penalty are those that suit them without any others.

    Args:
        labelled: features (N, D) of training and validation pictures by depth, of which `train` has the rows
            of those with `targets`; `more`: of unlabelled pictures.
        unknown_share: of pictures like the training ones that may be found unlike them.
        repeats: how often each labelled picture that decides is left out, `MOST_ROWS` times in all at most or
            once each.
    """
    last = max(labelled)
    far = _distances(labelled[last][train], more[last], targets.together)
    like = np.flatnonzero(far[1] <= threshold_for(far[0], unknown_share)[0])
    rows = np.sort(np.random.default_rng(seed).permutation(like)[:MOST])
    choice = choose_cuts({depth: cut[train] for depth, cut in labelled.items()}, targets, seed=seed)
    table = standardised([np.concatenate([labelled[cut], more[cut][rows]]) for cut in choice.cuts])
    own, others = np.split(rotated(table.rows)[0], [len(labelled[last])])
    asked = deciding_rows(targets, seed)
    known = Known(own[train[asked]], targets.rows(asked), others, choice.penalty or 1.0)
    said = None
    if choice.penalty is not None and len(rows):
        said = out_of_fold(known, max(1, min(repeats, MOST_ROWS // len(asked))), seed)
    return SelfTrained(
        rows,
        len(far[1]) - len(like),
        choice.cuts,
        pseudo_labels(known, seed) if len(rows) else np.zeros((0, targets.classes)),
        None if said is None else (said.argmax(3) == known.targets.labels).mean(1),
        known.targets.together,
        known.penalty,
        (own, others),
    )


def _distances(taught: np.ndarray, more: np.ndarray, together: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how far each training picture is from the others but for its group, and each of `more` from
    them."""
    features, asked = (as_rows(torch.from_numpy(np.asarray(each))) for each in (taught, more))
    neighbours = min(NEIGHBOURS, len(features))
    return from_others(features, together, neighbours), scores(asked, features, neighbours).numpy()


def learn_from_unlabelled(
    config: Config, artifacts: Artifacts, store: Store
) -> tuple[dict[str, Any], Pseudo | None]:
    """Look at the pictures that `target.unlabelled` names. Return what supervise.json says and, where some of
    them teach, all pictures that trainings see.

    store: training and validation pictures, with targets where labels are not all there is to say of them.
    """
    more = open_store(artifacts.data(UNLABELLED))
    labelled, others = initial_cuts(config, artifacts, store, more)
    train = np.flatnonzero(store.manifest["split"] == "train")
    found = self_trained(
        labelled,
        others,
        train,
        targets_of(store.part("train"), len(store.classes), Finetune()),
        unknown_share=config.export.unknown_share,
        repeats=config.review.repeats,
        seed=config.seed,
    )
    confidence = config.supervise.confidence
    said = {
        "pictures": len(more),
        "unlike": found.unlike,
        "asked": len(found.rows),
        "agreed": int(found.pseudo.any(1).sum()),
        "kept": found.kept(confidence),
        "cuts": list(found.cuts),
        "accuracy": None if found.right is None else [round(float(each), 6) for each in found.right.mean(1)],
        "gain": [round(each, 6) for each in found.gain(confidence)],
    }
    pseudo = _joined(store, more, found, config.seed) if said["kept"] else None
    return {"sentences": [in_words(found, len(more), confidence)], "unlabelled": said}, pseudo


def _joined(store: Store, more: Store, found: SelfTrained, seed: int) -> Pseudo:
    """Return all pictures that trainings see: those of `more` that teach lie behind the training pictures."""
    used = found.pseudo.any(1)
    rows, pseudo, train = found.rows[used], found.pseudo[used], len(store.teaching())
    extra = more.manifest.iloc[rows].assign(split=PSEUDO, label=np.array(store.classes)[pseudo.argmax(1)])
    # paths say which pictures belong together, and those of another folder may be the same
    extra["path"] = f"{UNLABELLED}: " + extra["path"]
    given = np.eye(len(store.classes))[store.labels] if store.targets is None else store.targets
    own, others = found.coordinates

    def between(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return np.concatenate([first[:train], second, first[train:]])

    return Pseudo(
        between(store.images, more.images[rows]),
        pd.concat([store.manifest[:train], extra, store.manifest[train:]], ignore_index=True),
        between(given, pseudo),
        between(own, others[used]),
        found.penalty,
        seed,
    )


def in_words(found: SelfTrained, pictures: int, confidence: float) -> str:
    """Say of so many unlabelled pictures what was decided, and why."""
    unlike = (
        f" {counted(found.unlike, 'picture')} of {pictures:,} unlike the training pictures."
        if found.unlike
        else ""
    )
    if not len(found.rows):
        return f"No unlabelled picture teaches: all {pictures:,} are unlike the training pictures."
    if found.right is None:
        return f"No unlabelled picture teaches: too few labelled ones to leave any out.{unlike}"
    without, told = found.right.mean(1)
    low, high = (f"{100 * each:+.1f}" for each in found.gain(confidence))
    said = (
        f"out of fold, solved heads are right on {told:.1%} of {len(found.clusters):,} labelled training "
        f"pictures with {int(found.pseudo.any(1).sum()):,} unlabelled ones (weight {WEIGHT} each), on "
        f"{without:.1%} without: {100 * (told - without):+.1f} points, {confidence:.0%} interval {low} to "
        f"{high}"
    )
    if found.kept(confidence):
        return f"Unlabelled pictures teach as well: {said}.{unlike}"
    return f"No unlabelled picture teaches, because no gain was shown: {said}, not above zero.{unlike}"
