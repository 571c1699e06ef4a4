"""What the winner of a study really achieves: its validation score, corrected for having been selected.

The best of many trials is the best partly because its luck fitted these validation pictures: of 200
trials that all guess, the best is right on 64 of 100 pictures of two classes. `corrected` asks what
would have happened on other pictures.
"""

from dataclasses import dataclass

import numpy as np

from thawline.resampling import clusters_of, image_draws, share_interval


@dataclass(frozen=True)
class Corrected:
    """The winner's accuracy, in 0..1, as it is to be expected on new pictures."""

    winner: int
    """Row of the trial that wins on all pictures."""
    naive: float
    """Its accuracy on the pictures that chose it; too high on average."""
    mean: float
    """Its accuracy corrected for the choice."""
    low: float
    high: float
    """Ends of the interval around `mean`."""
    trials: int
    images: int


def corrected(
    correct: np.ndarray,
    groups: np.ndarray | None = None,
    *,
    losses: np.ndarray | None = None,
    resamples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Corrected:
    """The accuracy to expect of the winner of a study on pictures that did not choose it.

    Bootstrap bias corrected cross-validation (Tsamardinos, Greasidou and Borboudakis 2018,
    Bootstrapping the out-of-sample predictions for efficient and accurate cross-validation): in each
    resample the pictures that were drawn choose the winner as the study does, and those that were not
    drawn score it. Nothing is trained again.

    Why this and not pictures held back for the winner alone: with a few hundred pictures, what is held
    back is missing from training or from the choice, is itself too small to say much (50 pictures tell
    90 % to within 8 points), and is spent after one look. Fresh seeds of the winner on the same
    pictures would show the luck of the seed, but not that of the pictures. On trials that guess, the
    corrected score is unbiased; where one trial is clearly the best, it is that trial's own score.

    What it cannot see: that the sampler proposed later trials because of these pictures, and that trials
    were pruned on them. Give it the trials that completed.

    The interval takes the variance of the out-of-bag scores divided by the mean of G/m - 1, which is by how
    much a mean over the m of G clusters that were not drawn varies more than one over all (1.7 times
    where G is large). The percentiles of the paper, without this, cover 99 % where 95 % were asked for.

    Args:
        correct: (T, N) of T trials on the same N pictures: 1 where right and 0 where wrong, or any
            number between.
        groups: (N,) pictures with equal values are drawn together. None: every picture on its own.
        losses: (T, N) what breaks ties, lower is better; (T,) where each trial has one number. Ties that
            remain, and all where None, go to the earlier trial.
        resamples: how many.
        seed: decides every draw.
        confidence: coverage of the interval.

    Raises ValueError unless there is a trial and a picture. With one cluster of pictures nothing is left
    to score the winner: the mean is the naive score and the interval 0..1.
    """
    correct = np.asarray(correct, np.float64)
    trials, images = correct.shape
    if not trials or not images:
        raise ValueError(f"{trials} trials on {images} pictures: at least one of each is needed")
    penalty = _penalty(losses, correct.shape)
    clusters = clusters_of(images, groups)
    winner = int(_winners(correct, penalty, np.ones((images, 1)))[0])
    naive = float(correct[winner].mean())
    scores, shares = _out_of_bag(correct, penalty, clusters, resamples, seed)
    if not len(scores):
        return Corrected(winner, naive, naive, 0.0, 1.0, trials, images)
    mean = float(scores.mean())
    narrowed = mean + (scores - mean) / np.sqrt(np.mean(1 / shares - 1))
    low, high = share_interval(mean, narrowed, int(clusters.max()) + 1, confidence)
    return Corrected(winner, naive, mean, low, high, trials, images)


def _penalty(losses: np.ndarray | None, shape: tuple[int, int]) -> np.ndarray:
    if losses is None:
        return np.zeros(shape)
    losses = np.asarray(losses, np.float64)
    return np.broadcast_to(losses[:, None] if losses.ndim == 1 else losses, shape)


def _winners(correct: np.ndarray, penalty: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(R,) the trial that wins on each weighting of the pictures, `weights` (N, R)."""
    hits = correct @ weights
    first = np.isclose(hits, hits.max(0), rtol=0, atol=1e-9)
    return np.where(first, penalty @ weights, np.inf).argmin(0)


def _out_of_bag(
    correct: np.ndarray, penalty: np.ndarray, clusters: np.ndarray, resamples: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Each resample's winner scored on the pictures left out, and the share of clusters left out.

    A resample that leaves nothing out, as happens with few clusters, scores nothing.
    """
    generator = np.random.default_rng(seed)
    heads = np.unique(clusters, return_index=True)[1]
    scores, shares = [], []
    for weights in image_draws(generator, clusters, resamples):
        left = (weights == 0).astype(np.float64)
        used = left.any(0)
        weights, left = weights[:, used], left[:, used]
        winners = _winners(correct, penalty, weights)
        scores.append(np.einsum("rn,nr->r", correct[winners], left) / left.sum(0))
        shares.append(left[heads].mean(0))
    return np.concatenate(scores), np.concatenate(shares)
