"""The winner of a study: its validation score, corrected for having been selected.

The best of many trials is the best partly because its luck fitted these validation pictures: of 200
trials that all guess, the best is right on 64 of 100 pictures of two classes. `corrected` asks what
would have happened on other pictures.
"""

from collections.abc import Callable, Sequence

import numpy as np

from thawline.statistics.bootstrap import clusters_of, picture_draws
from thawline.statistics.intervals import resampled_share_interval
from thawline.statistics.one_standard_error import simplest


def corrected(
    correct: np.ndarray,
    groups: np.ndarray | None = None,
    *,
    losses: np.ndarray | None = None,
    frozen: np.ndarray | None = None,
    resamples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> tuple[float, float, float]:
    """Return the accuracy to expect of the winner of a study on pictures that did not choose it.

    Returns its mean, in 0..1, and the low and high end of its interval.

    Bootstrap bias corrected cross-validation (Tsamardinos, Greasidou and Borboudakis 2018,
    Bootstrapping the out-of-sample predictions for efficient and accurate cross-validation): in each
    resample the pictures that were drawn choose the winner as the study does, and those that were not
    drawn score it. Nothing is trained again.

    Why this and not pictures held back for the winner alone: with a few hundred pictures, what is held
    back is missing from training or from the choice, is itself too small to say much (50 pictures tell
    90 % to within 8 points), and is spent after one look. Fresh seeds of the winner on the same
    pictures would show the luck of the seed, but not that of the pictures. On trials that guess, the
    corrected score is unbiased; where one trial is clearly the best, it is that trial's own score.

    What it cannot see: that the sampler proposed later trials because of these pictures, that trials were
    pruned on them, and that with `finetune.keep=best` (less so with early stopping) they chose each trial's
    epoch: what a trial said of a picture then depends on that picture. On random labels such trials are
    right on more than half of the pictures one by one, and so is what comes out here. Give it the trials
    that completed.

    The interval takes the variance of the out-of-bag scores divided by the mean of G/m - 1, which is by how
    much a mean over the m of G clusters that were not drawn varies more than one over all (1.7 times
    where G is large). The percentiles of the paper, without this, cover 99 % where 95 % were asked for.

    Args:
        correct: (T, N) of T trials on the same N pictures: 1 where right and 0 where wrong, or any
            number between.
        groups: (N,) pictures with equal values are drawn together. None: every picture on its own.
        losses: (T, N) what breaks ties, lower is better; (T,) where each trial has one number. Ties that
            remain, and all where None, go to the earlier trial.
        frozen: (T,) how many units each trial froze, where the study takes what `one_standard_error.simplest`
            takes; None: the best.
        resamples: how many.
        seed: decides every draw.
        confidence: coverage of the interval.

    Raises ValueError unless there is a trial and a picture. With one cluster of pictures nothing is left
    to score the winner: the mean is its score on all pictures and the interval 0..1.
    """
    correct = np.asarray(correct, np.float64)
    trials, images = correct.shape
    if not trials or not images:
        raise ValueError(f"{trials} trials on {images} pictures: at least one of each is needed")
    penalty = _penalty(losses, correct.shape)
    clusters = clusters_of(images, groups)

    def chosen(weights: np.ndarray) -> np.ndarray:
        best = _winners(correct, penalty, weights)
        return best if frozen is None else simplest(correct, best, frozen, clusters, weights)

    def choose(weights: np.ndarray) -> np.ndarray:
        return correct[chosen(weights)]

    naive = float(choose(np.ones((images, 1))).mean())
    return _left_out(choose, naive, clusters, resamples, seed, confidence)


def corrected_depth(
    trials: Sequence[np.ndarray],
    fresh: Sequence[np.ndarray],
    chosen: int,
    groups: np.ndarray | None = None,
    *,
    losses: Sequence[np.ndarray] | None = None,
    tolerance: float = 0.0,
    resamples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> tuple[float, float, float]:
    """Return the accuracy to expect on new pictures of the recipe that a depth curve recommends.

    Returns its mean and the low and high end of its interval.

    The pictures chose twice: the best trial at each depth, then the depth. Both choices are made again in
    each resample, by the pictures that were drawn: the fresh seeds' means choose the deepest depth within
    `tolerance` of the best, the trials at that depth the winner; the pictures that were not drawn score that
    trial. All else is as for `corrected`.

    Why not the mean of the fresh seeds, which has its interval in the depth curve: other seeds of one recipe
    err on much the same pictures (a linear probe's on nearly all the same ones), so that the pictures which
    chose a recipe flatter its fresh seeds too. In simulated studies of random labels, where seeds of one
    recipe said almost the same, that interval covered chance in 3 of 4 studies where 19 of 20 were asked for,
    and the mean was 7 points too high with 100 pictures; this one was 1.5 points too high and covered chance
    in all (test_selection_bias.py).

    What it cannot see, besides what `corrected` cannot: that trials share one seed, so that the luck of that
    seed, which is true of its model but not of the final ones, is in the score; and that which recipe got
    fresh seeds was decided by all pictures: with 30 pictures and nine depths that guess, 4 points are left.

    Args:
        trials: for each depth, by increasing depth, (T, N) of the trials that could win there.
        fresh: for each depth (S, N) of its fresh seeds.
        chosen: position of the recommended depth; its winner's score is the mean where there is but one
            cluster of pictures, so that nothing is left to score it.
        losses: for each depth (T, N) or (T,), as for `corrected`.
    """
    correct = [np.asarray(each, np.float64) for each in trials]
    given: Sequence[np.ndarray | None] = [None] * len(correct) if losses is None else losses
    penalty = [_penalty(each, rows.shape) for each, rows in zip(given, correct, strict=True)]
    means = np.stack([np.asarray(each, np.float64).mean(0) for each in fresh])

    def choose(weights: np.ndarray) -> np.ndarray:
        accuracies = means @ weights / weights.sum(0)
        near = accuracies >= accuracies.max(0) - tolerance - 1e-9
        depth = len(near) - 1 - near[::-1].argmax(0)
        result = np.empty(weights.T.shape)
        for position, rows in enumerate(correct):
            here = depth == position
            result[here] = rows[_winners(rows, penalty[position], weights[:, here])]
        return result

    clusters = clusters_of(means.shape[1], groups)
    everything = np.ones((means.shape[1], 1))
    naive = correct[chosen][_winners(correct[chosen], penalty[chosen], everything)[0]].mean()
    return _left_out(choose, float(naive), clusters, resamples, seed, confidence)


def _left_out(
    choose: Callable[[np.ndarray], np.ndarray],
    naive: float,
    clusters: np.ndarray,
    resamples: int,
    seed: int,
    confidence: float,
) -> tuple[float, float, float]:
    """Score on the pictures left out what `choose` picks by weights (N, R): (R, N) of 1 where right."""
    scores, shares = _out_of_bag(choose, clusters, resamples, seed)
    if not len(scores):
        return naive, 0.0, 1.0
    mean = float(scores.mean())
    narrowed = mean + (scores - mean) / np.sqrt(np.mean(1 / shares - 1))
    return mean, *resampled_share_interval(mean, narrowed, int(clusters.max()) + 1, confidence)


def _penalty(losses: np.ndarray | None, shape: tuple[int, int]) -> np.ndarray:
    if losses is None:
        return np.zeros(shape)
    losses = np.asarray(losses, np.float64)
    return np.broadcast_to(losses[:, None] if losses.ndim == 1 else losses, shape)


def _winners(correct: np.ndarray, penalty: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return (R,) the trial that wins on each weighting of the pictures, `weights` (N, R)."""
    hits = correct @ weights
    first = np.isclose(hits, hits.max(0), rtol=0, atol=1e-9)
    return np.where(first, penalty @ weights, np.inf).argmin(0)


def _out_of_bag(
    choose: Callable[[np.ndarray], np.ndarray], clusters: np.ndarray, resamples: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Score each resample's choice on the pictures left out, beside the share of clusters left out.

    A resample that leaves nothing out, as happens with few clusters, scores nothing.
    """
    generator = np.random.default_rng(seed)
    heads = np.unique(clusters, return_index=True)[1]
    scores, shares = [], []
    for weights in picture_draws(generator, clusters, resamples):
        left = (weights == 0).astype(np.float64)
        used = left.any(0)
        weights, left = weights[:, used], left[:, used]
        scores.append(np.einsum("rn,nr->r", choose(weights), left) / left.sum(0))
        shares.append(left[heads].mean(0))
    return np.concatenate(scores), np.concatenate(shares)
