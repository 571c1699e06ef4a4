"""Pictures are called as what they lie in."""

import pytest

from thawline.data.naming import name_of


@pytest.mark.parametrize(
    ("root", "name"),
    [
        ("/photographs/leaves", "leaves"),
        ("leaves/", "leaves"),
        ("leaves.tar.gz", "leaves"),
        ("leaves.TGZ", "leaves"),
        ("labels.tsv", "labels"),
        ("leaves.2024", "leaves.2024"),
        ("v1.2.zip", "v1.2"),
    ],
)
def test_an_ending_goes_only_where_it_says_what_the_file_is(root: str, name: str) -> None:
    assert name_of(root) == name
