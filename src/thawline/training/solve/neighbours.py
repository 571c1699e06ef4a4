"""The vote of the nearest neighbours, each picture left out of its own: what features say without a head."""

import numpy as np

NEIGHBOURS = 5


def left_out_votes(
    features: np.ndarray,
    labels: np.ndarray,
    classes: int,
    *,
    groups: np.ndarray | None = None,
    neighbours: int = NEIGHBOURS,
) -> np.ndarray:
    """Return (N, classes): how many of a row's nearest rows in other groups are of each class, by the cosine
    of the angle between features less their mean; of equally many, the nearer ones count a little more.

    Args:
        features: (N, D). labels: (N,) in 0 .. classes - 1.
        groups: (N,) equal for rows that are left out together; None: each row alone.
        neighbours: fewer vote where other groups have fewer rows.
    """
    centred = features - features.mean(0)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    alike = np.divide(centred, lengths, out=np.zeros_like(centred), where=lengths > 0)
    groups = np.arange(len(labels)) if groups is None else groups
    near = np.where(groups[:, None] == groups, -np.inf, alike @ alike.T)
    order = np.argsort(-near, axis=1, kind="stable")[:, :neighbours]
    found = np.take_along_axis(near, order, axis=1)
    # cosines differ by 2 at most, so that the nearer ones never outweigh a vote
    counted = np.where(np.isfinite(found), 1 + found / (4 * neighbours), 0.0)
    votes = np.zeros((len(labels), classes))
    np.add.at(votes, (np.arange(len(labels))[:, None], labels[order]), counted)
    return votes
