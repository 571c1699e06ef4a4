"""How good predictions are. No torch: labels and probabilities in, numbers and tables out.

Every metric is a function of sums over images: images and hits of each class, the log-loss, the gap
between confidence and correctness in each bin. `contributions` lists what each image adds to those
sums and `measure` turns sums into metrics, so that the metrics of thousands of weighted resamples are
one matrix product and the measured value is the resample in which every image counts once.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.metrics import precision_recall_fscore_support

METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "expected_calibration_error")
"""The order of the last axis of everything `measure` returns."""


@dataclass(frozen=True)
class Contributions:
    """What each of N images adds to the sums of one model, with C classes and B confidence bins.

    `rows` (3 C + 1 + B, N), sparse: in turn for each class whether the image is of it, whether it is
    taken for it, whether it is of it and taken for it; its log-loss in nats; for each bin, correctness
    minus confidence if the image falls into it.
    """

    rows: sparse.csr_array
    classes: int


def contributions(labels: np.ndarray, probabilities: np.ndarray, bins: int) -> Contributions:
    """What each image adds to the sums of one model.

    Args:
        labels: (N,) true classes, 0..C-1.
        probabilities: (N, C), rows summing to 1.
        bins: equal-width confidence bins of the calibration error.
    """
    images, classes = probabilities.shape
    predicted, confidence = probabilities.argmax(1), probabilities.max(1)
    correct = predicted == labels
    smallest = np.finfo(np.float64).eps
    log_loss = -np.log(np.clip(probabilities[np.arange(images), labels], smallest, 1))
    parts = [
        _placed(labels, np.ones(images), classes),
        _placed(predicted, np.ones(images), classes),
        _placed(labels, correct, classes),
        _placed(np.zeros(images, int), log_loss, 1),
        _placed(confidence_bin(confidence, bins), correct - confidence, bins),
    ]
    return Contributions(sparse.csr_array(sparse.vstack(parts)), classes)


def _placed(row: np.ndarray, value: np.ndarray, rows: int) -> sparse.csr_array:
    """(rows, N) with `value[i]` at `[row[i], i]`."""
    return sparse.csr_array(
        (np.asarray(value, np.float64), (row, np.arange(len(row)))), shape=(rows, len(row))
    )


def measure(model: Contributions, weights: np.ndarray | None = None) -> np.ndarray:
    """Every metric, of the images as they are or of R weightings of them.

    Balanced accuracy is the mean recall, and macro-F1 the mean F1, of the classes that have an image
    of positive weight: a class missing from a resample has neither, so it does not count as 0.

    Args:
        weights: (N, R), how often each image counts; every column has a positive sum. None: once.

    Returns:
        (R, 5) in the order of `METRICS` (R = 1 without weights). The log-loss is in nats, all else
        lies in 0..1.
    """
    if weights is None:
        weights = np.ones((model.rows.shape[1], 1))
    c = model.classes
    support, predicted, hits, log_loss, gaps = np.split(model.rows @ weights, [c, 2 * c, 3 * c, 3 * c + 1])
    total, present = support.sum(0), support > 0
    recall = np.divide(hits, support, out=np.zeros_like(hits), where=present)
    f1 = np.divide(2 * hits, support + predicted, out=np.zeros_like(hits), where=present)
    return np.stack(
        [
            hits.sum(0) / total,
            recall.sum(0) / present.sum(0),
            f1.sum(0) / present.sum(0),
            log_loss[0] / total,
            np.abs(gaps).sum(0) / total,
        ],
        axis=-1,
    )


def confidence_bin(confidence: np.ndarray, bins: int) -> np.ndarray:
    """Index of the interval (i/bins, (i+1)/bins] each confidence lies in (Guo et al. 2017, On
    Calibration of Modern Neural Networks, eq. 2)."""
    return np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)


def calibration(labels: np.ndarray, probabilities: np.ndarray, bins: int) -> pd.DataFrame:
    """The reliability diagram's numbers.

    Returns:
        One row per bin that holds an image: `low` and `high` (its edges), `count`, mean `confidence`
        and `accuracy` in it.
    """
    confidence = probabilities.max(1)
    frame = pd.DataFrame(
        {
            "bin": confidence_bin(confidence, bins),
            "confidence": confidence,
            "accuracy": (probabilities.argmax(1) == labels).astype(float),
        }
    )
    table = frame.groupby("bin").agg(
        count=("confidence", "size"), confidence=("confidence", "mean"), accuracy=("accuracy", "mean")
    )
    table.insert(0, "low", table.index / bins)
    table.insert(1, "high", (table.index + 1) / bins)
    return table.reset_index(drop=True)


def per_class(labels: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    """One row per class, in order: `support` (images of it), `precision`, `recall`, `f1`.

    Undefined values are NaN, not 0: the precision of a class nothing is taken for, the recall of a
    class without images.
    """
    precision, recall, f1, support = precision_recall_fscore_support(
        labels,
        probabilities.argmax(1),
        labels=np.arange(probabilities.shape[1]),
        zero_division=np.nan,
    )
    return pd.DataFrame({"support": support, "precision": precision, "recall": recall, "f1": f1})
