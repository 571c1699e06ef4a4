"""What is taken out of a pool: the numbers asked for, whole clusters, the same for the same seed."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thawline.data.holdout import hold_out


@st.composite
def pools(draw):
    size = draw(st.integers(4, 60))
    labels = np.array(draw(st.lists(st.sampled_from("abc"), min_size=size, max_size=size)))
    clusters = np.array(draw(st.lists(st.integers(0, size), min_size=size, max_size=size)))
    wanted = {label: draw(st.integers(1, n)) for label, n in Counter(labels.tolist()).items()}
    return labels, clusters, wanted


@given(pool=pools(), seed=st.integers(0, 99))
def test_clusters_are_never_parted_and_the_same_seed_takes_the_same(pool, seed):
    labels, clusters, wanted = pool
    taken = hold_out(labels, clusters, wanted, np.random.default_rng(seed))
    assert not set(clusters[taken]) & set(np.delete(clusters, taken))
    assert (np.diff(taken) > 0).all()
    again = hold_out(labels, clusters, wanted, np.random.default_rng(seed))
    np.testing.assert_array_equal(taken, again)


@given(pool=pools(), seed=st.integers(0, 99))
def test_clusters_of_one_meet_the_numbers_exactly(pool, seed):
    labels, _, wanted = pool
    taken = hold_out(labels, np.arange(len(labels)), wanted, np.random.default_rng(seed))
    assert Counter(labels[taken].tolist()) == wanted


def test_another_seed_takes_others():
    labels = np.array(["a"] * 50)
    taken = [hold_out(labels, np.arange(50), {"a": 10}, np.random.default_rng(s)).tolist() for s in (0, 1)]
    assert taken[0] != taken[1]


def test_groups_across_classes_are_balanced():
    """Twenty signers with one picture of each of ten digits: a fifth is four signers."""
    labels, signers = np.tile(np.arange(10), 20).astype(str), np.repeat(np.arange(20), 10)
    taken = hold_out(labels, signers, dict.fromkeys("0123456789", 4), np.random.default_rng(0))
    assert Counter(labels[taken].tolist()) == dict.fromkeys("0123456789", 4)


@pytest.mark.parametrize("seed", range(30))
def test_a_group_of_several_classes_takes_no_class_from_those_that_come_after(seed):
    """Ten patients with ten pictures each of one kind, three of whom have two of another kind as well."""
    labels = np.array(["benign"] * 100 + ["malignant"] * 6)
    patients = np.concatenate([np.repeat(np.arange(10), 10), np.repeat([2, 5, 7], 2)])
    random = np.random.default_rng(seed)
    rest, sides = np.arange(106), []
    for keep, benign in ((2, 25), (1, 15)):
        taken = hold_out(labels[rest], patients[rest], {"benign": benign, "malignant": 1}, random, keep)
        sides.append(rest[taken])
        rest = np.delete(rest, taken)
    for side in (*sides, rest):
        assert set(labels[side]) == {"benign", "malignant"}


def test_a_class_of_large_clusters_gets_its_smallest():
    clusters = np.repeat([0, 1, 2], [50, 30, 60])
    taken = hold_out(np.array(["a"] * 140), clusters, {"a": 10}, np.random.default_rng(0))
    assert set(clusters[taken]) == {1}


@pytest.mark.parametrize("size", [1, 7])
def test_a_class_that_is_one_cluster_stays_where_it_is(size):
    labels, clusters = np.array(["a"] * size), np.zeros(size, int)
    if size > 1:
        assert hold_out(labels, clusters, {"a": 1}, np.random.default_rng(0)).tolist() == []
