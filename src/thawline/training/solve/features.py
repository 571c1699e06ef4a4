"""From the features of one or several cuts to one table of standardised columns, and back again."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ROUNDING = 1e-6
"""A column that varies by less than this share of its mean is constant: the rest is float32's rounding."""


@dataclass(frozen=True, eq=False)
class Standardised:
    """Columns with mean 0, and with variance 1 where there is one cut.

    `rows` (N, D) are (columns - mean) * scale. Constant columns have scale 0. With several cuts each has the
    same total variance, and all cuts together have that of D plain columns: many channels do not outweigh
    few.
    """

    rows: np.ndarray
    mean: np.ndarray
    scale: np.ndarray

    def on_columns(self, weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return weight (K, D) and bias (K,) for the columns as they were, given those for standardised
        rows."""
        raw = weight * self.scale
        return raw, bias - raw @ self.mean

    def on_rows(self, weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return weight and bias for standardised rows, given those for the columns as they were."""
        own = np.divide(weight, self.scale, out=np.zeros_like(weight), where=self.scale > 0)
        return own, bias + weight @ self.mean


def standardised(cuts: Sequence[np.ndarray]) -> Standardised:
    """Standardise over all rows of the features (N, D) at each of `cuts`, side by side; labels play no
    part."""
    everything = np.concatenate(cuts, axis=1, dtype=np.float64)
    mean, deviation = everything.mean(0), everything.std(0)
    varies = deviation > ROUNDING * np.abs(mean)
    equal = np.concatenate([np.full(own.shape[1], 1 / (len(cuts) * own.shape[1])) for own in cuts])
    scale = np.zeros_like(mean)
    scale[varies] = np.sqrt(len(mean) * equal[varies]) / deviation[varies]
    return Standardised((everything - mean) * scale, mean, scale)


def rotated(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn `rows` into their principal axes: rows (N, D) = coordinates (N, r) @ axes (r, D); return the two.

    The axes are eigenvectors of the smaller of the two Gram matrices. They are orthonormal, so a penalty on
    weights along them is the same penalty on the weights of the columns, and r is at most the smaller of N
    and D: nothing is lost, and few pictures stay few numbers.
    """
    images, columns = rows.shape
    if columns > images:
        spread, vectors = _axes(rows @ rows.T)
        return vectors * spread, (vectors / spread).T @ rows
    _, vectors = _axes(rows.T @ rows)
    return rows @ vectors, vectors.T


def coordinates(products: np.ndarray) -> np.ndarray:
    """Return the coordinates (N, r) that `rotated` finds for rows of which only the inner products (N, N) are
    given."""
    spread, vectors = _axes(products)
    return vectors * spread


def _axes(products: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the lengths (r,) along a Gram matrix's axes, and these (side, r)."""
    values, vectors = np.linalg.eigh(products)
    # below this only the rounding of the Gram matrix is left
    kept = values > 1e-12 * max(values[-1], 1e-300)
    return np.sqrt(values[kept]), vectors[:, kept]
