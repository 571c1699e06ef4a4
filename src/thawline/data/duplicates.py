"""Which pictures show the same thing, by perceptual hashes (64 bits of low-frequency DCT signs)."""

from collections.abc import Iterator

import numpy as np

_BLOCK_PAIRS = 2**22


def components(hashes: np.ndarray, bits: int) -> np.ndarray:
    """Return the component of each hash, `(n,)`: those that differ in at most `bits` bits share one.

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
    """Return the position of a reference within `bits` bits of each query, -1 where there is none."""
    found = np.full(len(queries), -1)
    for left, right in _close_pairs(queries, references, bits):
        found[left[::-1]] = right[::-1]
    return found


def merged(component: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the components after joining those of the elements `left[i]` and `right[i]`, `(n,)` integers."""
    if not len(left):
        return component
    # takes a third of a second to load, and many data sets join nothing
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    size = int(component.max()) + 1
    edges = (np.ones(len(left), np.int8), (component[left], component[right]))
    return connected_components(coo_array(edges, shape=(size, size)), directed=False)[1][component]


def _close_pairs(left: np.ndarray, right: np.ndarray, bits: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    step = max(_BLOCK_PAIRS // max(len(right), 1), 1)
    for start in range(0, len(left), step):
        distance = np.bitwise_count(left[start : start + step, None] ^ right[None, :])
        rows, columns = np.nonzero(distance <= bits)
        yield rows + start, columns
