"""A solved linear head, and how the penalties it was chosen from did on pictures left out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

EQUAL = 1e-4
"""Losses that differ by less are equal: solutions that are compared are no more exact."""


@dataclass(frozen=True, eq=False)
class PenaltyPath:
    """The worth of each of the penalties (P,), falling, on pictures that were left out.

    `accuracy` (P,) is a share of rows, `loss` (P,) a mean over rows: log-loss, weighted by the classes'
    weights, for logistic regression (the share of wrong answers where its loss is a robust one); the squared
    error for ridge.
    """

    penalties: np.ndarray
    accuracy: np.ndarray
    loss: np.ndarray

    @property
    def chosen(self) -> int:
        """Position of the penalty with the smallest loss, of equals the largest penalty."""
        near = np.flatnonzero(self.loss <= self.loss.min() + EQUAL)
        return int(near[np.argmax(self.penalties[near])])


@dataclass(frozen=True, eq=False)
class LinearHead:
    """Logits of K classes, affine in features: weight (K, D), bias (K,).

    `penalty` is on the weights of standardised columns, which these are not. `path` is None where nothing
    was left out: the penalty was given, or there are too few pictures.
    """

    weight: np.ndarray
    bias: np.ndarray
    penalty: float
    path: PenaltyPath | None = None

    def logits(self, cuts: Sequence[np.ndarray]) -> np.ndarray:
        """Return (N, K) for features (N, D) at `cuts`, which are the cuts this was solved on."""
        return np.concatenate(cuts, axis=1, dtype=np.float64) @ self.weight.T + self.bias


def penalty_path(columns: int, highest: float = 1, count: int = 9) -> np.ndarray:
    """Return (count,) penalties, falling, from `columns` * 10 ** `highest` to `columns` / 1000.

    More standardised columns make larger logits of the same weights, so the penalty that fits grows with
    them.
    """
    return columns * np.logspace(highest, -3, count)
