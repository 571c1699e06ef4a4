"""Comparing hashes in blocks gives what comparing every pair gives."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thawline.data import duplicates

# Few bits, so that close pairs and chains of them are common.
HASHES = st.lists(st.integers(0, 2**7 - 1), min_size=1, max_size=30).map(lambda v: np.array(v, np.uint64))


def distances(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.array([[(int(a) ^ int(b)).bit_count() for b in right] for a in left])


@pytest.fixture(autouse=True, scope="module")
def _small_blocks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "_BLOCK_PAIRS", 40)
        yield


@given(hashes=HASHES, bits=st.integers(0, 3))
def test_components_are_the_chains_of_close_pairs(hashes, bits):
    reachable = distances(hashes, hashes) <= bits
    for _ in hashes:
        reachable = reachable @ reachable
    component = duplicates.components(hashes, bits)
    np.testing.assert_array_equal(component[:, None] == component[None, :], reachable)


@given(queries=HASHES, references=HASHES, bits=st.integers(0, 3))
def test_first_within_finds_a_close_reference_if_there_is_one(queries, references, bits):
    distance = distances(queries, references)
    found = duplicates.first_within(queries, references, bits)
    expected = np.where((distance <= bits).any(1), (distance <= bits).argmax(1), -1)
    np.testing.assert_array_equal(found, expected)


def test_nothing_is_close_to_nothing():
    assert duplicates.first_within(np.array([1], np.uint64), np.empty(0, np.uint64), 64).tolist() == [-1]
    assert duplicates.components(np.empty(0, np.uint64), 2).tolist() == []


def test_all_64_bits_count():
    hashes = np.array([0, 2**63, 2**64 - 1], np.uint64)
    assert len(set(duplicates.components(hashes, 0))) == 3
    assert len(set(duplicates.components(hashes, 1))) == 2


@given(
    component=st.lists(st.integers(0, 9), min_size=1, max_size=12).map(np.array),
    pairs=st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=4),
)
def test_merged_joins_and_never_parts(component, pairs):
    left, right = (np.array([pair[side] % len(component) for pair in pairs], int) for side in (0, 1))
    after = duplicates.merged(component, left, right)
    assert (after[left] == after[right]).all()
    for number in set(component):
        assert len(set(after[component == number])) == 1


def test_many_pictures_are_compared_in_large_blocks(monkeypatch):
    monkeypatch.setattr(duplicates, "_BLOCK_PAIRS", 2**22)
    hashes = np.random.default_rng(0).integers(0, 2**64, 3_000, np.uint64)
    hashes[2_500:2_600] = hashes[:100] ^ np.uint64(3)
    assert len(set(duplicates.components(hashes, 2))) == 2_900
