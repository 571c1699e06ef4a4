"""From the features of one or several cuts to one table of standardised columns, and back again."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

ROUNDING = 1e-6
"""A column that varies by less than this share of its mean is constant: the rest is float32's rounding."""


class Pool(StrEnum):
    """A way to make one number of all positions of a channel; named like NumPy's method."""

    mean = "mean"
    max = "max"


@dataclass(frozen=True, eq=False)
class CutFeatures:
    """Features of N pictures at one cut.

    `values` are (N, D), or (N, C, positions...) such as a map (N, C, H, W), which `pooling` makes C columns
    of for each of its ways, one way after the other.
    """

    values: np.ndarray
    pooling: tuple[Pool, ...] = (Pool.mean,)

    def __post_init__(self) -> None:
        if self.values.ndim < 2 or not self.pooling:
            raise ValueError(f"no columns: values {self.values.shape}, pooling {self.pooling}")

    def pooled(self) -> np.ndarray:
        """Return (N, columns) float64."""
        positions = tuple(range(2, self.values.ndim))
        if not positions:
            return self.values.astype(np.float64)
        found = [getattr(self.values, pool)(axis=positions) for pool in self.pooling]
        return np.concatenate(found, axis=1).astype(np.float64)


def pooled(cuts: Sequence[CutFeatures]) -> np.ndarray:
    """Return (N, D) float64: the pooled columns of all cuts side by side, as a solved head takes them."""
    return np.concatenate([cut.pooled() for cut in cuts], axis=1)


@dataclass(frozen=True, eq=False)
class Standardised:
    """Pooled columns with mean 0, and with variance 1 where there is one cut.

    `rows` (N, D) are (pooled - mean) * scale. Constant columns have scale 0. With several cuts each has the
    same total variance, and all cuts together have that of D plain columns: many channels do not outweigh
    few.
    """

    rows: np.ndarray
    mean: np.ndarray
    scale: np.ndarray

    def on_pooled(self, weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return weight (K, D) and bias (K,) for pooled columns, given those for standardised rows."""
        raw = weight * self.scale
        return raw, bias - raw @ self.mean

    def on_rows(self, weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return weight and bias for standardised rows, given those for pooled columns."""
        own = np.divide(weight, self.scale, out=np.zeros_like(weight), where=self.scale > 0)
        return own, bias + weight @ self.mean


def standardised(cuts: Sequence[CutFeatures]) -> Standardised:
    """Standardise over all rows of `cuts`; labels play no part."""
    columns = [cut.pooled() for cut in cuts]
    everything = np.concatenate(columns, axis=1)
    mean, deviation = everything.mean(0), everything.std(0)
    varies = deviation > ROUNDING * np.abs(mean)
    equal = np.concatenate([np.full(own.shape[1], 1 / (len(cuts) * own.shape[1])) for own in columns])
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
