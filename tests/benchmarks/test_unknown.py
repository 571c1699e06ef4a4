"""Areas under a curve are what they are called."""

import numpy as np
import pytest
from tests_benchmarks import loaded


def test_the_area_is_the_share_of_pairs_in_the_right_order() -> None:
    unknown = loaded("unknown")
    known, strange = np.array([0.1, 0.2, 0.3]), np.array([0.3, 0.25, 0.9, 0.0])
    pairs = [(a > b) + 0.5 * (a == b) for a in strange for b in known]
    assert unknown.roc_auc(known, strange) == pytest.approx(np.mean(pairs))
