"""A threshold with a promise: how many pictures like those held out lie above it."""

import math

import numpy as np


def threshold_for(scores: np.ndarray, share: float) -> tuple[float, float]:
    """Return a threshold, one of the `scores` (n,) of held-out pictures, and the share of new pictures above
    it that it promises, at most, for pictures drawn as those were.

    The promise is of split conformal prediction (Vovk and others 2005, Algorithmic learning in a random
    world): it needs no shape of the scores, and holds in the mean over held-out pictures. With n of them no
    share below 1 / (n + 1) can be promised: that is then promised, by the largest score.

    Raises `ValueError` unless there is a score and `share` lies between 0 and 1.
    """
    if not len(scores) or not 0 < share < 1:
        raise ValueError(f"no threshold of {len(scores)} scores for the share {share}")
    count = len(scores)
    # rounded, or 0.9 * 10 would be 9.000000000000002 and take the next one
    rank = min(count, math.ceil(round((count + 1) * (1 - share), 9)))
    return float(np.sort(scores)[rank - 1]), max(share, 1 / (count + 1))
