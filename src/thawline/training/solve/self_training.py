"""Labels for pictures that have none, from solved heads that agree about them.

Soft pseudo-labels on which heads of all folds agree (Lee 2013, Pseudo-label), sharpened and moved towards the
class shares of the labelled pictures (Berthelot et al. 2020, ReMixMatch: distribution alignment). Without the
second, heads of few pictures favour some classes and teach that to the next ones (docs/weak_supervision.md).
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import softmax

from thawline.training.solve.choice import deciding_rows
from thawline.training.solve.left_out import ENOUGH, FOLDS, folds_of
from thawline.training.solve.minimise import regressions
from thawline.training.solve.targets import Targets

ROUNDS = 3
WEIGHT = 0.3
"""Of a pseudo-labelled picture, where a labelled one weighs 1: between 0.1 and 1 nothing changed."""
SHARPER = 2.0
"""Power of the probabilities."""
TOWARDS = 0.75
"""How far the class shares go towards those of the labelled pictures: all the way is best where these are the
same, and loses most where they are not."""
ALIGNED = 5
"""Times that the shares of the classes are corrected; the probabilities of a picture sum to 1 after each."""


@dataclass(frozen=True, eq=False)
class Known:
    """Coordinates (N, r) of pictures and their targets, coordinates (M, r) of others without a label, and the
    penalty of all heads."""

    rows: np.ndarray
    targets: Targets
    others: np.ndarray
    penalty: float

    def at(self, chosen: np.ndarray) -> "Known":
        """Return what is known where of the labels only those of the rows `chosen`, a mask or indices,
        are."""
        return replace(self, rows=self.rows[chosen], targets=self.targets.rows(chosen))

    def answers(self, asked: np.ndarray, taught: np.ndarray, pseudo: np.ndarray | None) -> np.ndarray:
        """Return the probabilities (A, classes) of pictures with the coordinates `asked` (A, r) by a head
        that the rows of the mask `taught` solve, and the others with the targets `pseudo` (M, classes)."""
        rows, shares = self.rows[taught], self.targets.shares[taught]
        if pseudo is not None:
            used = pseudo.any(1)
            rows = np.concatenate([rows, self.others[used]])
            shares = np.concatenate([shares, pseudo[used]])
        *_, (weight, bias) = regressions(rows, shares, [self.penalty], ENOUGH)
        return softmax(asked @ weight.T + bias, axis=1)


def pseudo_labels(known: Known, seed: int = 0) -> np.ndarray:
    """Return targets (M, classes) of the others: shares of the classes that sum to `WEIGHT` where the heads
    of all folds agree on the likeliest class, and to 0 elsewhere.

    In every round each head leaves out one fold of the labelled pictures, and all learn from what the round
    before said of the others. Of many labelled pictures `deciding_rows` teach. Where nothing can be left out
    all targets are 0.
    """
    pseudo: np.ndarray | None = None
    known = known.at(deciding_rows(known.targets, seed))
    for each in range(ROUNDS):
        folds = folds_of(known.targets, FOLDS, ROUNDS * seed + each)
        if not folds:
            break
        said = np.stack([_aligned(known.answers(known.others, ~out, pseudo), known.targets) for out in folds])
        mean = said.mean(0)
        agreed = (said.argmax(2) == mean.argmax(1)).all(0)
        pseudo = WEIGHT * mean * agreed[:, None]
    return np.zeros((len(known.others), known.targets.classes)) if pseudo is None else pseudo


def out_of_fold(known: Known, repeats: int, seed: int) -> np.ndarray | None:
    """Return (2, repeats, N, classes): what heads say of labelled pictures that were left out, of them and of
    the pseudo-labels; first heads that the other labelled pictures alone solve, then those that pseudo-labels
    teach as well. None where nothing can be left out."""
    found = np.zeros((2, repeats, *known.targets.shares.shape))
    for repeat in range(repeats):
        folds = folds_of(known.targets, FOLDS, seed * repeats + repeat)
        if not folds:
            return None
        for out in folds:
            left, everything = known.at(~out), np.full((~out).sum(), True)
            for way, pseudo in enumerate((None, pseudo_labels(left, seed))):
                found[way, repeat, out] = left.answers(known.rows[out], everything, pseudo)
    return found


def _aligned(probabilities: np.ndarray, targets: Targets) -> np.ndarray:
    """Return (M, classes) sharpened, with class shares between their own and those of `targets`."""
    sharp = probabilities**SHARPER
    sharp /= sharp.sum(1, keepdims=True)
    wanted = targets.shares.sum(0) ** TOWARDS * sharp.sum(0) ** (1 - TOWARDS)
    for _ in range(ALIGNED):
        sharp *= wanted / np.maximum(sharp.sum(0), 1e-12)
        sharp /= sharp.sum(1, keepdims=True)
    return sharp
