"""A head by logistic regression, with the penalty that does best on pictures it was not solved on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax

from thawline.training.solve.features import CutFeatures, pooled, rotated, standardised
from thawline.training.solve.head import LinearHead, PenaltyPath, penalty_path
from thawline.training.solve.minimise import regressions

FOLDS = 5
ENOUGH = 1e-3
"""Tolerance of solutions that only compare penalties: their log-loss is right to 1e-4 or better."""

Asked = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Which rows (N,) solve a head, and coordinates, labels and weights of the rows that it is asked about."""


@dataclass(frozen=True, eq=False)
class Targets:
    """Labels and weights of N rows, each a picture or one of its views.

    Args:
        labels: (N,) in 0 .. classes - 1.
        classes: of the head, those without pictures included.
        pictures: (N,) equal for the views of one picture; None: each row is a picture. Views share their
            picture's weight, so more views do not weaken a penalty.
        groups: (N,) equal for what belongs together; None: each picture on its own.
        class_weights: (classes,) or None: all 1.
        label_smoothing: in 0 .. 1, the share of a picture that is spread over all classes.
    """

    labels: np.ndarray
    classes: int
    pictures: np.ndarray | None = None
    groups: np.ndarray | None = None
    class_weights: np.ndarray | None = None
    label_smoothing: float = 0.0

    @property
    def weights(self) -> np.ndarray:
        """(N,): class weight over the number of views."""
        return self._class_weights[self.labels] / self._views

    @property
    def shares(self) -> np.ndarray:
        """(N, classes): each class's weight times its share of the row, as PyTorch's cross-entropy has it."""
        shares = np.full((len(self.labels), self.classes), self.label_smoothing / self.classes)
        shares[np.arange(len(self.labels)), self.labels] += 1 - self.label_smoothing
        return shares * self._class_weights / self._views[:, None]

    @property
    def _class_weights(self) -> np.ndarray:
        return np.ones(self.classes) if self.class_weights is None else np.asarray(self.class_weights, float)

    @property
    def _views(self) -> np.ndarray:
        if self.pictures is None:
            return np.ones(len(self.labels))
        _, own, count = np.unique(self.pictures, return_inverse=True, return_counts=True)
        return count[own].astype(float)


def logistic_head(
    cuts: Sequence[CutFeatures],
    targets: Targets,
    *,
    penalty: float | None = None,
    penalties: Sequence[float] | None = None,
    held_out: tuple[Sequence[CutFeatures], np.ndarray] | None = None,
    folds: int = FOLDS,
    seed: int = 0,
) -> LinearHead:
    """Return the head that multinomial logistic regression finds on the standardised columns of `cuts`.

    The penalty is 1 / C of scikit-learn's LogisticRegression. Where none is given, the log-loss on left-out
    rows chooses from `penalties`, of equals the largest. Columns are standardised over all rows, those of
    left-out pictures included.

    Args:
        penalties: positive; None: nine, from 10 to 1/1000 of the number of columns. They are tried from the
            largest on, until two in a row are worse than the best.
        held_out: features of other pictures and their labels, to choose by; None: out-of-fold predictions
            of these (`folds` stratified folds, groups together, shuffled by `seed`). Where no class has two
            pictures nothing can be left out, and the middle of `penalties` is taken.

    Raises UserError where the minimum is not found.
    """
    table = standardised(cuts)
    rows, axes = rotated(table.rows)
    tried = penalty_path(len(table.mean), -3, 1, 9) if penalties is None else -np.sort(-np.array(penalties))
    path = None
    if penalty is None:
        if held_out is None:
            asked = [
                (~out, rows[out], targets.labels[out], targets.weights[out])
                for out in _folds(targets, folds, seed)
            ]
        else:
            other = Targets(held_out[1], targets.classes, class_weights=targets.class_weights)
            others = (pooled(held_out[0]) - table.mean) * table.scale @ axes.T
            asked = [(np.full(len(rows), True), others, other.labels, other.weights)]
        path = _path(rows, targets, tried, asked) if asked else None
        penalty = float(tried[path.chosen if path else len(tried) // 2])
    warm = [value for value in tried if value > penalty]
    *_, (weight, bias) = regressions(rows, targets.shares, [*warm, penalty])
    return LinearHead(*table.on_pooled(weight @ axes, bias), penalty, path)


def _path(rows: np.ndarray, targets: Targets, penalties: np.ndarray, parts: Sequence[Asked]) -> PenaltyPath:
    """Solve on each part's rows and score on the pictures left out, from the largest penalty on, until two in
    a row are worse than the best: smaller ones take longest and only fit the pictures closer."""
    labels, weights = (np.concatenate(each) for each in zip(*[part[2:] for part in parts], strict=True))
    paths = [regressions(rows[taught], targets.shares[taught], penalties, ENOUGH) for taught, *_ in parts]
    right: list[float] = []
    losses: list[float] = []
    for solutions in zip(*paths, strict=True):
        found = zip(parts, solutions, strict=True)
        logits = np.concatenate([asked @ weight.T + bias for (_, asked, *_), (weight, bias) in found])
        right.append(float((logits.argmax(1) == labels).mean()))
        each = -log_softmax(logits, axis=1)[np.arange(len(labels)), labels]
        losses.append(float(each @ weights / weights.sum()))
        if len(losses) > 2 and min(losses[-2:]) > min(losses[:-2]):
            break
    return PenaltyPath(penalties[: len(losses)], np.array(right), np.array(losses))


def _folds(targets: Targets, count: int, seed: int) -> list[np.ndarray]:
    """Return masks (N,) of the rows left out, one for each fold: every picture once, with its views and its
    group, and of each class about the same share.

    There are none where no class has two pictures, or two groups of them.
    """
    alone = np.arange(len(targets.labels)) if targets.pictures is None else targets.pictures
    _, first, part = np.unique(
        alone if targets.groups is None else targets.groups, return_index=True, return_inverse=True
    )
    # dealt out class after class like cards; a group counts for the class of its first picture
    labels = targets.labels[first]
    count = min(count, int(np.bincount(labels).max()))
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    dealt = np.empty(len(labels), int)
    dealt[shuffled[np.argsort(labels[shuffled], kind="stable")]] = np.arange(len(labels)) % max(count, 1)
    return [dealt[part] == fold for fold in range(count)] if count > 1 else []
