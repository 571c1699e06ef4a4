"""The variance of a mean over seeds and pictures is taken apart as it was put together."""

import numpy as np
import pytest

from thawline.statistics.variance import spread_of, widening


def test_each_part_is_found_again() -> None:
    random = np.random.default_rng(0)
    found = []
    for _ in range(300):
        seeds, pictures = random.normal(0, 0.3, (4, 1)), random.normal(0, 1.0, (1, 100))
        found.append(spread_of(seeds + pictures + random.normal(0, 0.5, (4, 100)), np.arange(100)))
    assert np.mean([each.pictures for each in found]) == pytest.approx(1.0 / 100 + 0.25 / 400, rel=0.05)
    # three quarters of what both parts count stay in the seeds' part
    assert np.mean([each.seeds for each in found]) == pytest.approx(0.09 / 4 + 0.75 * 0.25 / 400, rel=0.1)


def test_one_seed_says_nothing_of_seeds() -> None:
    found = spread_of(np.arange(6.0)[None], np.arange(6))
    assert (found.seeds, found.runs, found.of_seeds(0.95)) == (0, 1, 0)


def test_few_say_less_than_their_variance() -> None:
    assert widening(2, 0.95) == pytest.approx((4.303 / 1.96) ** 2, rel=1e-3)
    assert widening(10_000, 0.95) == pytest.approx(1, abs=1e-3)
