"""Take some of each class out of a pool without separating what belongs together."""

from collections import Counter

import numpy as np
from numpy.random import Generator


def hold_out(
    labels: np.ndarray, clusters: np.ndarray, wanted: dict[str, int], random: Generator, keep: int = 1
) -> np.ndarray:
    """Return the positions taken out of the pool, in increasing order.

    `labels` and `clusters` are `(n,)`; a cluster is taken as a whole or not at all. In random order,
    every cluster is taken that brings its classes closer to the numbers `wanted`, which are met
    exactly where clusters hold one element each. A class left with nothing gets its smallest cluster,
    if others of that class remain.

    A cluster of several classes is not taken where it brings one of them more than is wanted and fewer than
    `keep` clusters with that class would remain: so many parts are still to be filled.
    """
    members = _members(clusters)
    counts = [Counter(labels[rows].tolist()) for rows in members]
    missing, taken = dict(wanted), np.zeros(len(members), bool)

    def spares(cluster: int) -> bool:
        over = [label for label, n in counts[cluster].items() if n > missing[label]]
        return all(sum(label in counts[other] for other in np.flatnonzero(~taken)) > keep for label in over)

    for cluster in random.permutation(len(members)).tolist():
        gain = sum(abs(missing[label]) - abs(missing[label] - n) for label, n in counts[cluster].items())
        if gain > 0 and (len(counts[cluster]) == 1 or spares(cluster)):
            _take(cluster, counts, missing, taken)
    for label in [label for label, n in wanted.items() if n and missing[label] == n]:
        holding = [cluster for cluster in np.flatnonzero(~taken).tolist() if label in counts[cluster]]
        if len(holding) > 1:
            holding = [cluster for cluster in holding if spares(cluster)] or holding
            _take(min(holding, key=lambda cluster: len(members[cluster])), counts, missing, taken)
    chosen = [rows for rows, take in zip(members, taken, strict=True) if take]
    return np.sort(np.concatenate([*chosen, np.empty(0, int)]))


def _members(clusters: np.ndarray) -> list[np.ndarray]:
    order = np.argsort(clusters, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(clusters[order])) + 1)


def _take(cluster: int, counts: list[Counter[str]], missing: dict[str, int], taken: np.ndarray) -> None:
    taken[cluster] = True
    for label, n in counts[cluster].items():
        missing[label] -= n
