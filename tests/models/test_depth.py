import pytest

from thawline.config.errors import UserError
from thawline.models.cuts import Unit
from thawline.models.depth import resolve_depth

UNITS = tuple(
    Unit(index, name, (f"{name}.weight", *more), ())
    for index, (name, more) in enumerate(
        [("stem", ("norm.weight",)), ("layer1.0", ()), ("layer1.1", ()), ("layer2.0", ())]
    )
)


@pytest.mark.parametrize(
    ("depth", "expected"),
    [
        (0, 0),
        (4, 4),
        ("all", 4),
        (0.25, 1),
        (0.5, 2),
        (0.01, 0),
        (0.99, 4),
        ("stem", 1),
        ("layer1.1", 3),
        ("layer1", 3),
        ("norm", 1),
        ("layer2.0.weight", 4),
    ],
)
def test_depth_counts_the_frozen_units(depth, expected):
    assert resolve_depth(depth, UNITS) == expected


@pytest.mark.parametrize("depth", [-1, 5, 0.0, 1.0, 1.5, True, "", "lay", "layer3", "fc"])
def test_other_depths_are_refused_with_what_is_allowed(depth):
    with pytest.raises(UserError, match=r"network of 4 units[.]\n  allowed: a count from 0 to 4"):
        resolve_depth(depth, UNITS)


def test_a_misspelt_unit_is_answered_with_the_nearest():
    with pytest.raises(UserError, match=r"nearest: layer1[.]1"):
        resolve_depth("layer1-1", UNITS)
