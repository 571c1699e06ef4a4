"""Which pictures show the same thing, by perceptual hashes (64 bits of low-frequency DCT signs)."""

from collections.abc import Iterator

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

_BLOCK_PAIRS = 2**22


def components(hashes: np.ndarray, bits: int) -> np.ndarray:
    """Component of each hash, `(n,)`: hashes that differ in at most `bits` bits are in the same one.

    `hashes` is `(n,)` uint64. All pairs are compared, in blocks, so memory stays flat in n.
    """
    unique, where = np.unique(hashes, return_inverse=True)
    component = np.arange(len(unique))
    for left, right in _close_pairs(unique, unique, bits):
        other = left < right
        if other.any():
            component = merged(component, left[other], right[other])
    return component[where]


def first_within(queries: np.ndarray, references: np.ndarray, bits: int) -> np.ndarray:
    """Position of a reference that differs from the query in at most `bits` bits, -1 where none."""
    found = np.full(len(queries), -1)
    for left, right in _close_pairs(queries, references, bits):
        found[left[::-1]] = right[::-1]
    return found


def merged(component: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Components after joining those of the elements `left[i]` and `right[i]`, `(n,)` integers."""
    size = int(component.max()) + 1
    edges = (np.ones(len(left), np.int8), (component[left], component[right]))
    return connected_components(coo_array(edges, shape=(size, size)), directed=False)[1][component]


def _close_pairs(left: np.ndarray, right: np.ndarray, bits: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    step = max(_BLOCK_PAIRS // max(len(right), 1), 1)
    for start in range(0, len(left), step):
        distance = np.bitwise_count(left[start : start + step, None] ^ right[None, :])
        rows, columns = np.nonzero(distance <= bits)
        yield rows + start, columns
