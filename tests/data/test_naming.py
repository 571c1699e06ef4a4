"""Pictures are called as what they lie in."""

import pytest

from thawline.config.choices import DataSetName
from thawline.config.pictures import DataSet, Source, Target
from thawline.data.naming import called, name_of


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


@pytest.mark.parametrize(
    ("section", "name"),
    [
        (Target(dataset=DataSetName["image_folder"], root="photographs/leaves"), "leaves"),
        (Target(dataset=DataSetName["table"], root="labels.csv"), "labels"),
        (Target(dataset=DataSetName["cifar10"], root="downloads"), "cifar10"),
        (Source(dataset=None, weights="weights.pth"), None),
    ],
)
def test_pictures_of_a_known_set_are_called_as_the_set_wherever_they_lie(
    section: DataSet, name: str | None
) -> None:
    assert called(section) == name
