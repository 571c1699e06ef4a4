"""A threshold that keeps its promise for whatever distribution."""

import numpy as np
import pytest

from thawline.statistics.conformal import threshold_for


def test_the_promise_is_kept_in_the_mean_over_held_out_values() -> None:
    random = np.random.default_rng(0)
    above = []
    for _ in range(2000):
        threshold, promised = threshold_for(random.exponential(size=99), 0.05)
        assert promised == pytest.approx(0.05)
        above.append(np.exp(-threshold))  # the share of an exponential distribution above it
    assert np.mean(above) == pytest.approx(0.05, abs=0.002)


def test_few_values_promise_what_they_can() -> None:
    assert threshold_for(np.array([3.0, 1.0, 2.0]), 0.01) == (3.0, 0.25)


@pytest.mark.parametrize(("scores", "share"), [([], 0.1), ([1.0], 0.0), ([1.0], 1.0)])
def test_without_a_score_or_a_share_there_is_no_threshold(scores: list[float], share: float) -> None:
    with pytest.raises(ValueError, match="no threshold of"):
        threshold_for(np.array(scores), share)
