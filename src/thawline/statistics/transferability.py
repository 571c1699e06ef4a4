"""Scores that are to foretell, without any training, how well a source suits a target. All are larger where
it suits better.

They stand beside measured accuracies for comparison; none decides anything (docs/choosing_sources.md).
"""

import numpy as np

_STEPS, _ENOUGH = 100, 1e-6


def log_me(features: np.ndarray, labels: np.ndarray, classes: int) -> float:
    """Return the mean log evidence of a picture and class, in nats (You and others 2021, LogME).

    Each class's indicator is regressed on the features by Bayesian linear regression, with the precisions of
    the weights and of the noise that make the evidence largest.

    Args:
        features: (N, D). labels: (N,) in 0 .. classes - 1.
    """
    count = len(features)
    left, singular, _ = np.linalg.svd(features.astype(np.float64), full_matrices=False)
    squares = singular**2
    evidence = [_evidence(left, squares, count, labels == name) for name in range(classes)]
    return float(np.mean(evidence))


def _evidence(left: np.ndarray, squares: np.ndarray, count: int, wanted: np.ndarray) -> float:
    """Return the largest log evidence per picture of the indicator `wanted` (N,): by MacKay's fixed point,
    along the features' principal axes `left` (N, r), whose squared singular values are `squares` (r,)."""
    along = (left.T @ wanted) ** 2
    beside = max(float(wanted.sum() - along.sum()), 0.0)
    alpha, beta = 1.0, 1.0
    for _ in range(_STEPS):
        share = beta * squares / (alpha + beta * squares)
        weights = float((share**2 * along / np.maximum(squares, 1e-300)).sum())
        errors = float(((1 - share) ** 2 * along).sum()) + beside
        before = alpha / beta
        alpha = float(share.sum()) / max(weights, 1e-12)
        beta = (count - float(share.sum())) / max(errors, 1e-12)
        if abs(alpha / beta - before) <= _ENOUGH * before:
            break
    # the variance along each axis, and the noise alone elsewhere
    spread = 1 / beta + squares / alpha
    rest = count - len(squares)
    log_likelihood = np.log(spread).sum() - rest * np.log(beta) + (along / spread).sum() + beta * beside
    return -0.5 * float(log_likelihood + count * np.log(2 * np.pi)) / count


def h_score(features: np.ndarray, labels: np.ndarray) -> float:
    """Return the shrunk H-score (Ibrahim and others 2022, Newer is not always better): the variance of the
    classes' means, in units of the features' covariance as Ledoit and Wolf 2004 shrink it.

    Args:
        features: (N, D). labels: (N,).
    """
    # a second to load, which only those wait for who compare sources
    from sklearn.covariance import ledoit_wolf

    covariance, shrinkage = ledoit_wolf(features)
    centred = features - features.mean(0)
    names, own, count = np.unique(labels, return_inverse=True, return_counts=True)
    sums = np.zeros((len(names), features.shape[1]))
    np.add.at(sums, own, centred)
    means = sums / count[:, None]
    between = (means * count[:, None]).T @ means / len(labels)
    # where no column varies there is nothing to divide by
    return float((1 - shrinkage) * np.trace(np.linalg.pinv(covariance, hermitian=True) @ between))


def leep(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean log-likelihood, in nats, of the labels under the classifier that the source's own head
    makes by what it says of each class (Nguyen and others 2020, LEEP).

    Args:
        probabilities: (N, Z) of the source's classes, rows with the sum 1. labels: (N,).
    """
    names, own = np.unique(labels, return_inverse=True)
    together = np.zeros((len(names), probabilities.shape[1]))
    np.add.at(together, own, probabilities)
    given = together / np.maximum(together.sum(0), 1e-300)
    return float(np.log((probabilities @ given.T)[np.arange(len(own)), own]).mean())
