import pytest

from thawline.config.errors import UserError
from thawline.models.cuts import Unit
from thawline.models.depth import frozen_units, resolve_depth

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


@pytest.mark.parametrize(
    ("depth", "expected"), [(0, set()), (2, {0, 1}), ("layer1", {0, 1, 2}), ("all", {0, 1, 2, 3})]
)
def test_without_names_the_leading_units_are_frozen(depth, expected):
    assert frozen_units(depth, None, UNITS) == expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["layer1.1"], {0, 1, 3}),
        (["layer1"], {0, 3}),
        (["stem", "layer2.0"], {1, 2}),
        (["norm"], {1, 2, 3}),
        (["layer1", "stem", "layer2"], set()),
    ],
)
def test_all_but_the_named_units_are_frozen(names, expected):
    assert frozen_units(0, names, UNITS) == expected


def test_unknown_names_are_refused_with_the_nearest():
    expected = (
        r"units = \['layer1-1', 'xyz'\]: the network has no such units or modules[.]\n"
        r"  nearest to 'layer1-1': layer1[.]1, .*\n  nearest to 'xyz': none\n"
        r"  allowed: stem, layer1[.]0, layer1[.]1, layer2[.]0, or modules made of these"
    )
    with pytest.raises(UserError, match=expected):
        frozen_units(0, ["stem", "layer1-1", "xyz"], UNITS)


def test_no_unit_is_called_by_half_of_its_name():
    with pytest.raises(UserError, match="no such units"):
        frozen_units(0, ["layer"], UNITS)


def test_modules_around_units_are_among_the_nearest():
    with pytest.raises(UserError, match=r"nearest to 'layer9': layer2, layer1,"):
        frozen_units(0, ["layer9"], UNITS)
