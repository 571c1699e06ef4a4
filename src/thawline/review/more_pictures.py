"""Would more pictures help? Accuracy against the number of pictures that teach, carefully drawn out."""

from collections.abc import Sequence

import numpy as np

from thawline.review.findings import MorePictures, Point
from thawline.review.out_of_fold import OutOfFold
from thawline.statistics.bootstrap import picture_weights
from thawline.statistics.intervals import accuracy_interval

SHARES = (0.16, 0.25, 0.4, 0.63, 1.0)
"""Of the pictures that may teach: each 1.6 times the one before."""
EXPONENTS = (0.25, 0.5, 1.0)
"""How fast the error may fall towards what no number of pictures mends, as pictures ** -exponent: the slowest
and the fastest that are common, and one between. Which it is a few points cannot tell, so all are tried."""
FEWEST = 3
"""Points from which a curve is drawn out."""
RESAMPLES = 500


def more_pictures(
    curve: Sequence[OutOfFold],
    labels: np.ndarray,
    clusters: np.ndarray,
    pictures: int,
    *,
    confidence: float,
    seed: int,
) -> MorePictures:
    """Return the accuracy for each of the numbers of pictures in `curve`, and what twice `pictures` would
    bring.

    Intervals are those of the mean accuracy on other pictures. What twice as many would bring is an inverse
    power law's, error = a + b * pictures ** -c with a and b not negative, fitted to resampled pictures and
    repeats for each c of `EXPONENTS`: the accuracy is that of the c that fits best, the interval holds
    those of all.

    Args:
        curve: of the same N pictures, by rising numbers that taught.
        labels: (N,).
        clusters: (N,) numbers 0..G-1, equal for pictures that are not independent.
        pictures: how many there are in all.
    """
    correct = [each.correct(labels) for each in curve]
    points = tuple(
        Point(
            round(each.pictures),
            float(right.mean()),
            *accuracy_interval(right, confidence, clusters),
        )
        for each, right in zip(curve, correct, strict=True)
    )
    if len(points) < FEWEST:
        return MorePictures(points, None, "There are too few pictures to say whether more would help.")
    sizes = np.array([each.pictures for each in curve]) / pictures
    now, twice, gain = drawn_out(np.stack(correct), sizes, clusters, confidence, seed)
    point = Point(2 * pictures, *twice)
    sentence = (
        f"Twice as many pictures ({2 * pictures:,}): {_points(gain)}. A linear head on the source model's "
        f"features that these {pictures:,} teach is right on about {100 * now:.0f} % of others; this is its "
        "curve, drawn out, for pictures like these and labels as good. What fine-tuning would gain is not "
        "in it."
    )
    return MorePictures(points, point, sentence)


def _points(gain: tuple[float, float]) -> str:
    """Write e.g. `+1 to +4 points`, with a digit more where that would say nothing."""
    digits = 0 if gain[1] >= 0.02 else 1
    low, high = (f"{100 * each:+.{digits}f}" for each in gain)
    return f"{low} to {high} points" if low != high else f"about {high} points"


def drawn_out(
    correct: np.ndarray, sizes: np.ndarray, clusters: np.ndarray, confidence: float, seed: int
) -> tuple[float, tuple[float, float, float], tuple[float, float]]:
    """Return the accuracy at size 1, that at size 2 with its interval, and the interval of the difference.

    correct: (S, R, N) of each size, repeat and picture.
    """
    generator, repeats = np.random.default_rng(seed), correct.shape[1]
    weights = picture_weights(generator, clusters, RESAMPLES)
    # one less than there are: with all of them the mean would vary too little (statistics.bootstrap)
    times = generator.multinomial(max(1, repeats - 1), np.full(repeats, 1 / repeats), size=RESAMPLES)
    resampled = np.einsum("srn,nb,br->bs", correct, weights / weights.sum(0), times / times.sum(1)[:, None])
    ends = (1 - confidence) / 2, (1 + confidence) / 2
    fits, intervals, gains = [], [], []
    for exponent in EXPONENTS:
        first, second, _ = _power_law(1 - resampled, sizes, exponent)
        intervals.append(np.quantile(second, ends))
        gains.append(np.quantile(second - first, ends))
        fits.append([float(each[0]) for each in _power_law(1 - correct.mean((1, 2))[None], sizes, exponent)])
    (low, high), (least, most) = (
        (min(each[0] for each in found), max(each[1] for each in found)) for found in (intervals, gains)
    )
    now, twice, _ = min(fits, key=lambda fit: fit[2])
    # means of what was resampled are rounded, and may end outside of what they are means of
    low, high = max(0.0, min(float(low), twice)), min(1.0, max(float(high), twice))
    return now, (twice, low, high), (float(least), float(most))


def _power_law(errors: np.ndarray, sizes: np.ndarray, exponent: float) -> tuple[np.ndarray, ...]:
    """Fit a + b * size ** -exponent with a and b not negative to errors (B, S) at sizes (S,) by least
    squares.

    Returns the accuracies (B,) at size 1 and at size 2, and the squares that are left.
    """
    x = sizes**-exponent
    mean = errors.mean(1)
    steep = (errors - mean[:, None]) @ (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    floor = mean - steep * x.mean()
    steep = np.where(floor < 0, errors @ x / (x @ x), steep)
    floor = np.where(steep < 0, mean, np.maximum(floor, 0))
    steep = np.maximum(steep, 0)
    left = ((errors - floor[:, None] - steep[:, None] * x) ** 2).sum(1)
    return 1 - floor - steep, 1 - floor - steep * 2**-exponent, left
