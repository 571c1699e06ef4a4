"""Draws keep together what belongs together, and intervals say something where every picture is right."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from thawline.statistics.bootstrap import CHUNK, clusters_of, image_draws, image_weights, share_interval


@given(st.integers(0, 10**6), st.lists(st.integers(0, 4), min_size=1, max_size=30), st.integers(1, 5))
@settings(max_examples=50, deadline=None)
def test_every_resample_draws_as_many_clusters_as_there_are(
    seed: int, clusters: list[int], resamples: int
) -> None:
    index = np.unique(clusters, return_inverse=True)[1]
    weights = image_weights(np.random.default_rng(seed), index, resamples)
    first = [int(np.flatnonzero(index == cluster)[0]) for cluster in range(index.max() + 1)]
    assert weights.shape == (len(clusters), resamples)
    assert (weights[first].sum(0) == len(first)).all()
    for position, cluster in enumerate(index):
        assert (weights[position] == weights[first[cluster]]).all()


def test_draws_come_in_bounded_chunks_that_add_up() -> None:
    sizes = [weights.shape for weights in image_draws(np.random.default_rng(0), np.arange(4), 2 * CHUNK + 1)]
    assert sizes == [(4, CHUNK), (4, CHUNK), (4, 1)]


def test_groups_of_any_kind_become_numbers() -> None:
    assert clusters_of(4, ["oak", "ash", "oak", "elm"]).tolist() == [2, 0, 2, 1]
    assert clusters_of(3, None).tolist() == [0, 1, 2]


@pytest.mark.parametrize("right", [0, 12])
def test_twelve_of_twelve_is_no_certainty(right: int) -> None:
    wilson = binomtest(right, 12).proportion_ci(0.95, method="wilson")
    found = share_interval(right / 12, np.full(50, right / 12), 12, 0.95)
    assert found == pytest.approx((wilson.low, wilson.high))


def test_draws_that_vary_like_so_many_pictures_give_the_interval_of_so_many() -> None:
    wilson = binomtest(45, 50).proportion_ci(0.9, method="wilson")
    draws = np.random.default_rng(0).binomial(50, 0.9, 200_000) / 50
    assert share_interval(0.9, draws, 999, 0.9) == pytest.approx((wilson.low, wilson.high), abs=1e-3)
