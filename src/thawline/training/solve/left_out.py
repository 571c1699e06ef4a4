"""Penalties judged on pictures that no head was solved on: folds, and the path of penalties over them."""

from collections.abc import Sequence

import numpy as np

from thawline.training.solve.head import PenaltyPath
from thawline.training.solve.minimise import regressions
from thawline.training.solve.targets import Targets

FOLDS = 5
ENOUGH = 1e-3
"""Tolerance of solutions that only compare penalties: their log-loss is right to 1e-4 or better."""

Asked = tuple[np.ndarray, np.ndarray, Targets]
"""Which rows (N,) solve a head, and coordinates and targets of the rows that it is asked about."""


def folds_of(targets: Targets, count: int, seed: int) -> list[np.ndarray]:
    """Return masks (N,) of the rows left out, one for each fold: every picture once, with its views and its
    group, and of each class about the same share.

    There are none where no class has two pictures, or two groups of them. Pseudo-labelled rows are never left
    out: what heads say of pictures is no judge of other heads.
    """
    judged = np.flatnonzero(~targets.pseudo)
    part, labels = targets.grouped(judged)
    # dealt out class after class like cards
    count = min(count, int(np.bincount(labels).max()))
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    dealt = np.empty(len(labels), int)
    dealt[shuffled[np.argsort(labels[shuffled], kind="stable")]] = np.arange(len(labels)) % max(count, 1)
    places = np.full(len(targets.labels), -1)
    places[judged] = dealt[part]
    return [places == fold for fold in range(count)] if count > 1 else []


def left_out(rows: np.ndarray, targets: Targets, folds: Sequence[np.ndarray]) -> list[Asked]:
    """Return what each fold asks of a head that all other rows (N, r) solve."""
    return [(~out, rows[out], targets.rows(out)) for out in folds]


def in_order(said: np.ndarray, folds: Sequence[np.ndarray]) -> np.ndarray:
    """Return what was said of the rows left out, fold after fold (M, ...), in the order of all rows (N, ...);
    0 for those that no fold leaves out."""
    found = np.zeros((len(folds[0]), *said.shape[1:]))
    found[np.concatenate([np.flatnonzero(out) for out in folds])] = said
    return found


def path_of(
    rows: np.ndarray, targets: Targets, penalties: np.ndarray, parts: Sequence[Asked]
) -> tuple[PenaltyPath, np.ndarray]:
    """Solve on each part's rows and score on the pictures left out, from the largest penalty on, until two in
    a row are worse than the best: smaller ones take longest and only fit the pictures closer.

    Returns the path, and of the penalty it chooses what heads say of the pictures left out: logits
    (M, classes), part after part.
    """
    labels = np.concatenate([asked.labels for *_, asked in parts])
    weights = np.concatenate([asked.weights for *_, asked in parts])
    paths = [
        regressions(rows[taught], targets.shares[taught], penalties, ENOUGH, targets.loss)
        for taught, *_ in parts
    ]
    right: list[float] = []
    losses: list[float] = []
    said: list[np.ndarray] = []
    for solutions in zip(*paths, strict=True):
        found = zip(parts, solutions, strict=True)
        answers = [asked @ weight.T + bias for (_, asked, _), (weight, bias) in found]
        said.append(np.concatenate(answers))
        right.append(float((said[-1].argmax(1) == labels).mean()))
        pairs = zip(parts, answers, strict=True)
        each = np.concatenate([asked.losses(answer) for (*_, asked), answer in pairs])
        losses.append(float(each @ weights / weights.sum()))
        if len(losses) > 2 and min(losses[-2:]) > min(losses[:-2]):
            break
    path = PenaltyPath(penalties[: len(losses)], np.array(right), np.array(losses))
    return path, said[path.chosen]
