"""Values are typed so that Hydra reads them as what they are."""

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from thawline.config.addresses import advice
from thawline.config.overrides import override


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, False, 3, 0.5, 1e-7),
        *("digits", "/data/leaves", "/home/jö/x", "/a,b", "/a b/(1)", "it's", "a=b", "$HOME", "null", "1e3"),
        *("True", "", "[a]"),
    ],
)
def test_a_value_is_read_as_what_it_is(value: object) -> None:
    found = OverridesParser.create().parse_override(override("a.b", value))
    read = found.value()
    assert (str(read) if isinstance(value, str) else read) == value
    assert not isinstance(value, str) or not isinstance(read, (bool, int, float, type(None)))


def test_plain_words_and_paths_are_left_as_they_are() -> None:
    assert override("source", "imagenet") == "source=imagenet"
    assert override("target.root", "/data/my-leaves") == "target.root=/data/my-leaves"


@pytest.mark.parametrize("address", ["file:///home/a%20b", "file://localhost/home/a%20b"])
def test_the_path_in_an_address_is_given(address: str) -> None:
    assert advice(address) == f"a path: {Path('/home/a b')}"
