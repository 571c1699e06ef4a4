"""Which labels may be wrong, by confident learning: Northcutt, Jiang and Chuang 2021."""

import warnings
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Ranking:
    """`order` (N,) are all pictures, the most doubtful first, and the first `doubtful` of them are those
    whose label confident learning takes for wrong; `likelier` (N,) is each picture's most probable other
    class and `confidence` (N,) its probability, both in the pictures' own order."""

    order: np.ndarray
    doubtful: int
    likelier: np.ndarray
    confidence: np.ndarray


def ranking(labels: np.ndarray, probabilities: np.ndarray, taught: np.ndarray | None = None) -> Ranking:
    """Rank pictures by how much more probable another class is than their label.

    Doubtful is a label that both of the paper's ways to prune take for wrong: among the least probable of its
    class, and among those with the largest margin to the class they would belong to, as many of each as the
    confident joint counts.

    Args:
        labels: (N,) in 0 .. classes - 1.
        probabilities: (N, classes) of heads that the picture did not teach.
        taught: (N,) whether others of its class taught them, without whom nothing is said; None: always.
    """
    # a second, and only this stage needs it
    from cleanlab.filter import find_label_issues

    own = np.arange(len(labels)), labels
    others = probabilities.copy()
    others[own] = -1.0
    likelier = others.argmax(1)
    confidence = probabilities[own[0], likelier]
    wrong = np.zeros(len(labels), bool)
    if len(np.unique(labels)) > 1:
        with warnings.catch_warnings():
            # it warns of classes of few pictures
            warnings.simplefilter("ignore", UserWarning)
            wrong = find_label_issues(labels, probabilities, filter_by="both", n_jobs=1)
        # of some ways of counting, one is a picture that every head is right on
        wrong &= confidence > probabilities[own]
        wrong &= True if taught is None else taught
    order = np.lexsort((probabilities[own] - confidence, ~wrong))
    return Ranking(order, int(wrong.sum()), likelier, confidence)
