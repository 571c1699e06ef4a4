"""The quality of predictions. No torch: labels and probabilities in, numbers and tables out.

Every metric is a function of sums over pictures: pictures and hits of each class, the log-loss, the gap
between confidence and correctness in each bin. `contributions` lists what each picture adds to those sums,
`measure` turns sums into metrics, and `linearised` says what each picture adds to each metric.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "expected_calibration_error")
"""The order of the last axis of everything `measure` returns."""


@dataclass(frozen=True)
class Contributions:
    """Contribution of each of N pictures to the sums of one model, with C classes and B confidence bins.

    `rows` (3 C + 1 + B, N), sparse: in turn for each class whether the picture is of it, whether it is
    taken for it, whether it is of it and taken for it; its log-loss in nats; for each bin, correctness
    minus confidence if the picture falls into it.
    """

    rows: sparse.csr_array
    classes: int

    def split(self, sums: np.ndarray) -> list[np.ndarray]:
        """Return the parts of `sums` (3 C + 1 + B, …): support, predicted, hits, log-loss, gaps."""
        c = self.classes
        return np.split(sums, [c, 2 * c, 3 * c, 3 * c + 1])


def contributions(labels: np.ndarray, probabilities: np.ndarray, bins: int) -> Contributions:
    """List what each picture adds to the sums of one model.

    Args:
        labels: (N,) true classes, 0..C-1.
        probabilities: (N, C), rows summing to 1.
        bins: equal-width confidence bins of the calibration error.
    """
    pictures, classes = probabilities.shape
    predicted, confidence = probabilities.argmax(1), probabilities.max(1)
    correct = predicted == labels
    smallest = np.finfo(np.float64).eps
    log_loss = -np.log(np.clip(probabilities[np.arange(pictures), labels], smallest, 1))
    parts = [
        _placed(labels, np.ones(pictures), classes),
        _placed(predicted, np.ones(pictures), classes),
        _placed(labels, correct, classes),
        _placed(np.zeros(pictures, int), log_loss, 1),
        _placed(confidence_bin(confidence, bins), correct - confidence, bins),
    ]
    return Contributions(sparse.csr_array(sparse.vstack(parts)), classes)


def _placed(row: np.ndarray, value: np.ndarray, rows: int) -> sparse.csr_array:
    """Return (rows, N) with `value[i]` at `[row[i], i]`."""
    return sparse.csr_array(
        (np.asarray(value, np.float64), (row, np.arange(len(row)))), shape=(rows, len(row))
    )


def measure(model: Contributions) -> np.ndarray:
    """Return every metric, (5,) in the order of `METRICS`.

    Balanced accuracy is the mean recall, and macro-F1 the mean F1, of the classes that have a picture. The
    log-loss is in nats, all else lies in 0..1.
    """
    support, predicted, hits, log_loss, gaps = model.split(model.rows.sum(axis=1))
    total, present = support.sum(), support > 0
    recall, f1 = _recall(support, hits), _f1(support, predicted, hits)
    return np.array(
        [
            hits.sum() / total,
            recall.sum() / present.sum(),
            f1.sum() / present.sum(),
            log_loss[0] / total,
            np.abs(gaps).sum() / total,
        ]
    )


def _recall(support: np.ndarray, hits: np.ndarray) -> np.ndarray:
    return np.divide(hits, support, out=np.zeros_like(hits), where=support > 0)


def _f1(support: np.ndarray, predicted: np.ndarray, hits: np.ndarray) -> np.ndarray:
    return np.divide(2 * hits, support + predicted, out=np.zeros_like(hits), where=support > 0)


def linearised(model: Contributions) -> np.ndarray:
    """Return (5, N) numbers whose means over pictures are the metrics, and vary as these do.

    On other pictures a metric differs by about its slope in each sum times how that sum changes, so it can
    be treated as the mean of N numbers (Jaeckel 1972, The infinitesimal jackknife). Of accuracy and log-loss
    they are the answers and losses themselves.
    """
    sums = model.rows.sum(axis=1)
    pictures = model.rows.shape[1]
    return measure(model)[:, None] + pictures * (_slopes(model, sums) @ model.rows)


def _slopes(model: Contributions, sums: np.ndarray) -> np.ndarray:
    """Return (5, 3 C + 1 + B): by how much each metric grows with each sum."""
    support, predicted, hits, log_loss, gaps = model.split(sums)
    total, present = support.sum(), support > 0
    classes, c = present.sum(), model.classes
    of, taken, right, loss, bins = (slice(*ends) for ends in _ends(c, len(sums)))
    slopes = np.zeros((len(METRICS), len(sums)))
    slopes[0, right], slopes[0, of] = 1 / total, -hits.sum() / total**2
    each = np.where(present, support, np.inf)
    slopes[1, right], slopes[1, of] = 1 / each / classes, -hits / each**2 / classes
    both = np.where(present, support + predicted, np.inf)
    slopes[2, right] = 2 / both / classes
    slopes[2, of] = slopes[2, taken] = -2 * hits / both**2 / classes
    slopes[3, loss], slopes[3, of] = 1 / total, -log_loss[0] / total**2
    slopes[4, bins], slopes[4, of] = np.sign(gaps) / total, -np.abs(gaps).sum() / total**2
    return slopes


def _ends(classes: int, sums: int) -> list[tuple[int, int]]:
    borders = [0, classes, 2 * classes, 3 * classes, 3 * classes + 1, sums]
    return list(zip(borders, borders[1:], strict=False))


def imbalance(model: Contributions) -> float:
    """Return how many times as much the mean recall varies as accuracy does, were all classes equally hard.

    It is 1 where every class has equally many pictures.
    """
    support = model.split(model.rows.sum(axis=1))[0]
    support = support[support > 0]
    return float(support.sum() * (1 / support).sum() / len(support) ** 2)


def calibration_noise(model: Contributions) -> float:
    """Return the calibration error that chance alone gives these pictures.

    It is that of a model whose every confidence is right: the mean of each bin's absolute, normal gap.
    """
    gaps = model.rows[3 * model.classes + 1 :]
    pictures = model.rows.shape[1]
    mean = gaps.sum(axis=1) / pictures
    variance = gaps.power(2).sum(axis=1) / pictures - mean**2
    return float(np.sqrt(2 / np.pi * variance / pictures).sum())


def confidence_bin(confidence: np.ndarray, bins: int) -> np.ndarray:
    """Return the index of the interval (i/bins, (i+1)/bins] each confidence lies in (Guo et al. 2017, On
    Calibration of Modern Neural Networks, eq. 2)."""
    return np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)


def calibration(labels: np.ndarray, probabilities: np.ndarray, bins: int) -> pd.DataFrame:
    """Return the reliability diagram's numbers.

    Returns:
        One row per bin that holds a picture: `low` and `high` (its edges), `count`, mean `confidence`
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
    """Return one row per class, in order: `support` (pictures of it), `precision`, `recall`, `f1`.

    Undefined values are NaN, not 0: the precision of a class nothing is taken for, the recall of a
    class without pictures.
    """
    taken, classes = probabilities.argmax(1), probabilities.shape[1]
    right = labels[labels == taken]
    support, predicted, hits = (np.bincount(each, minlength=classes) for each in (labels, taken, right))
    with np.errstate(invalid="ignore"):
        precision, recall, f1 = hits / predicted, hits / support, 2 * hits / (support + predicted)
    return pd.DataFrame({"support": support, "precision": precision, "recall": recall, "f1": f1})
