"""How long a linear head takes to be solved, beside scikit-learn's path of the same penalties.

    OMP_NUM_THREADS=1 python benchmarks/solve.py

Seconds of processor time, the least of three, for features as of a published network: positive, with a
spectrum that falls. scikit-learn fits the same penalties on five folds, each from its own start.
"""

import logging
import time
import warnings
from collections.abc import Callable

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from thawline.training.solve.features import CutFeatures, standardised
from thawline.training.solve.left_out import FOLDS
from thawline.training.solve.logistic import logistic_head
from thawline.training.solve.ridge import ridge
from thawline.training.solve.targets import Targets

log = logging.getLogger("solve")

SIZES = ((80, 512, 3), (350, 1280, 7), (1700, 512, 12), (1700, 1280, 7))
"""Pictures, columns and classes."""


def features(pictures: int, columns: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (N, D) float32 and labels (N,)."""
    generator = np.random.default_rng(0)
    labels = np.arange(pictures) % classes
    middle = generator.normal(size=(classes, columns))
    mixing = generator.normal(size=(columns, columns)) * np.exp(-6 * np.arange(columns) / columns)[:, None]
    values = (middle[labels] + 3 * generator.normal(size=(pictures, columns))) @ mixing
    return np.maximum(values, 0).astype(np.float32), labels


def seconds(function: Callable[[], object]) -> float:
    started = time.process_time()
    function()
    return time.process_time() - started


def by_scikit_learn(rows: np.ndarray, labels: np.ndarray, penalties: np.ndarray) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says so where 1,000 steps were not enough
        for train, _ in StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(rows, labels):
            for penalty in penalties:
                LogisticRegression(C=1 / penalty, max_iter=1000).fit(rows[train], labels[train])


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    log.info("| pictures | columns | classes | logistic path | scikit-learn | ridge |\n|--|--|--|--|--|--|")
    for size in SIZES:
        values, labels = features(*size)
        cuts, targets = [CutFeatures(values)], Targets(labels, size[2])
        head = logistic_head(cuts, targets)
        assert head.path is not None
        rows, penalties = standardised(cuts).rows, head.path.penalties
        took = (
            min(seconds(lambda: logistic_head(cuts, targets)) for _ in range(3)),  # noqa: B023
            seconds(lambda: by_scikit_learn(rows, labels, penalties)),  # noqa: B023
            min(seconds(lambda: ridge(cuts, labels, size[2])) for _ in range(3)),  # noqa: B023
        )
        log.info("| %s | %s |", " | ".join(map(str, size)), " | ".join(f"{each:.2f}" for each in took))


if __name__ == "__main__":
    main()
