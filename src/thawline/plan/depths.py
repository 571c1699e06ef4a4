"""Depths worth comparing: spread over the network, each where little crosses the cut."""

from collections.abc import Mapping, Sequence


def spread(sizes: Mapping[int, int], count: int) -> list[int]:
    """Return at most `count` thawed depths, the most telling first: 0, and one of each equal part of the
    others.

    Of each part that with the smallest tensor is taken, of equals the deepest: what is stored for a picture
    there, and read in every epoch, is least. The middle comes first, then 0, then what halves the rest.

    Args:
        sizes: numbers that cross the cut, for each depth from 0 to all units; the last one is left out.
    """
    units = max(sizes)
    parts = min(count, units)
    bounds = [round(index * units / parts) for index in range(parts + 1)]
    found = [0]
    for low, high in zip(bounds[:-1], bounds[1:], strict=True):
        inside = [depth for depth in range(max(low, 1), high) if depth not in found]
        if low > 0 and inside:
            # a cut near the part's beginning: the part behind it is what is thawed
            near = [depth for depth in inside if depth < (low + high) / 2] or inside
            found.append(min(near, key=lambda depth: (sizes[depth], -depth)))
    return _halving(found)


def _halving(ascending: Sequence[int]) -> list[int]:
    """Order by what halves: the middle (of two the lower), the first, then those farthest from the others."""
    left = list(ascending)
    order = [left.pop((len(left) - 1) // 2)]
    if left:
        order.append(left.pop(0))
    while left:
        farthest = max(left, key=lambda depth: (min(abs(depth - each) for each in order), -depth))
        left.remove(farthest)
        order.append(farthest)
    return order
