"""Draws keep together what belongs together."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thawline.statistics.bootstrap import CHUNK, clusters_of, over_seeds, picture_draws, picture_weights


@given(st.integers(0, 10**6), st.lists(st.integers(0, 4), min_size=1, max_size=30), st.integers(1, 5))
@settings(max_examples=50, deadline=None)
def test_every_resample_draws_as_many_clusters_as_there_are(
    seed: int, clusters: list[int], resamples: int
) -> None:
    index = np.unique(clusters, return_inverse=True)[1]
    weights = picture_weights(np.random.default_rng(seed), index, resamples)
    first = [int(np.flatnonzero(index == cluster)[0]) for cluster in range(index.max() + 1)]
    assert weights.shape == (len(clusters), resamples)
    assert (weights[first].sum(0) == len(first)).all()
    for position, cluster in enumerate(index):
        assert (weights[position] == weights[first[cluster]]).all()


def test_draws_come_in_bounded_chunks_that_add_up() -> None:
    sizes = [
        weights.shape for weights in picture_draws(np.random.default_rng(0), np.arange(4), 2 * CHUNK + 1)
    ]
    assert sizes == [(4, CHUNK), (4, CHUNK), (4, 1)]


def test_groups_of_any_kind_become_numbers() -> None:
    assert clusters_of(4, ["oak", "ash", "oak", "elm"]).tolist() == [2, 0, 2, 1]
    assert clusters_of(3, None).tolist() == [0, 1, 2]


def test_seed_variance_is_not_understated() -> None:
    """The resampled standard deviation of a mean of three is the textbook's."""
    rates = np.array([0.0, 1.0, 1.0])
    means = over_seeds(np.repeat(rates[:, None], 20_000, axis=1), np.random.default_rng(0))
    assert means.std() == pytest.approx(rates.std(ddof=1) / np.sqrt(3), rel=0.03)
