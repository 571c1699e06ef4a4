"""How much a picture counts whose label is doubted by heads that it did not teach."""

from dataclasses import dataclass

import numpy as np

from thawline.artifacts import Artifacts
from thawline.config.sections import Config, Finetune
from thawline.data.store import Store
from thawline.models.device import prepare_machine
from thawline.review.heads import look
from thawline.review.labels import ranking
from thawline.training.head_cuts import initial_cuts, targets_of
from thawline.training.solve.targets import Targets

FEW = 0.08
"""Share of what is taught up to which doubts change nothing that matters: as many labels of clean sets are
doubted (docs/weak_supervision.md)."""
_LITTLE = "As many are in sets whose labels are right, where this changes little."
_MATTERS = "That is more than where labels are right."


@dataclass(frozen=True, eq=False)
class Doubts:
    """`doubts` (N,) is 1 for a label that is not doubted, and less the surer heads are of another class;
    `weights` (N,) how much each picture counts: those of every class 1 in the mean."""

    doubts: np.ndarray
    weights: np.ndarray


def weights_of(config: Config, artifacts: Artifacts, store: Store) -> Doubts:
    """Return how much each picture counts, by heads on the source model's last cut."""
    prepare_machine(config.trainer)
    (cuts,) = initial_cuts(config, artifacts, store)
    targets = targets_of(store, len(store.classes), Finetune())
    return doubted([cuts[max(cuts)]], targets, config.review.repeats, config.seed)


def doubted(cuts: list[np.ndarray], targets: Targets, repeats: int, seed: int) -> Doubts:
    """Return how much pictures count by what heads say that these did not teach.

    A label that confident learning takes for wrong (`review.labels.ranking`) counts as its probability over
    that of the likeliest class; then the pictures of its class are made to count as much together as there
    are of them. So no class is forgotten, however doubtful all of its labels are.

    Args:
        cuts: features (N, D).
        targets: what they are labelled as, and which belong together.
        repeats: how often each picture is left out.
    """
    labels, found = targets.labels, look(cuts, targets, repeats, seed)
    doubts = np.ones(len(labels))
    if found is not None:
        ranked = ranking(labels, found.probabilities, found.taught)
        rows = ranked.order[: ranked.doubtful]
        doubts[rows] = found.probabilities[rows, labels[rows]] / ranked.confidence[rows]
    # or a class all of whose labels are doubted would be divided by nothing
    doubts = np.maximum(doubts, 1e-3)
    means = np.bincount(labels, doubts) / np.maximum(np.bincount(labels), 1)
    return Doubts(doubts, doubts / means[labels])


def sentence(found: Doubts) -> str:
    """Say how many pictures count less, and how much that is."""
    pictures, less = len(found.doubts), int((found.doubts < 1).sum())
    if not less:
        return f"None of the {pictures:,} labels is doubted: all pictures count alike."
    verb = "label is" if less == 1 else "labels are"
    share = (1 - found.doubts).sum() / pictures
    return (
        f"{less:,} of {pictures:,} {verb} doubted by heads that the picture did not teach, and "
        f"count less: {share:.1%} of all that is taught. {_MATTERS if share > FEW else _LITTLE}"
    )
