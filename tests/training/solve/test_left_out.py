"""Pictures left out fold after fold, and what heads said of them."""

import numpy as np

from thawline.training.solve.left_out import folds_of, in_order
from thawline.training.solve.targets import Targets


def test_what_was_said_fold_after_fold_comes_in_the_order_of_the_rows() -> None:
    guessed = np.arange(40) >= 30
    folds = folds_of(Targets(np.arange(40) % 3, 3, guessed=guessed), 5, 0)
    said = np.concatenate([np.flatnonzero(out) for out in folds]).astype(float)
    found = in_order(np.stack([said, -said], axis=1), folds)
    assert found[:30].tolist() == [[row, -row] for row in range(30)]
    assert not found[30:].any()
