"""Depths that a plan compares."""

from hypothesis import given
from hypothesis import strategies as st

from thawline.plan.depths import spread

EVEN = dict.fromkeys(range(32), 100)


def test_depths_are_spread_over_the_network_and_the_middle_comes_first() -> None:
    found = spread(EVEN, 4)
    assert sorted(found) == [0, 11, 19, 26]
    assert found[0] == 11
    assert found[1] == 0


def test_of_neighbours_the_cut_with_least_to_store_is_taken() -> None:
    assert 9 in spread(EVEN | {9: 10}, 4)


@given(st.integers(1, 40), st.integers(1, 12))
def test_there_are_as_many_as_asked_for_or_as_the_network_has(units: int, count: int) -> None:
    found = spread(dict.fromkeys(range(units + 1), 1), count)
    assert len(found) == len(set(found)) <= min(count, units)
    assert 0 in found
    assert max(found) < units
