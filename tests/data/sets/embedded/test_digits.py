"""The embedded target is scikit-learn's digits, unchanged but for the range of gray levels."""

import numpy as np
from sklearn.datasets import load_digits

from thawline.config.sections import DataSet, DataSetName
from thawline.data.sets.embedded import digits

TARGET = DataSet(dataset=DataSetName.digits)


def test_every_digit_is_there_with_its_label():
    collection, original = digits.collect(TARGET, 0), load_digits()
    assert [item.label for item in collection.items] == [str(label) for label in original.target]
    for index in (0, 900, 1796):
        np.testing.assert_allclose(
            np.asarray(collection.open(index)) / 255 * 16, original.images[index], atol=0.04
        )


def test_names_are_unique_and_no_split_is_given():
    items = digits.collect(TARGET, 0).items
    assert len({item.path for item in items}) == len(items) == 1797
    assert {item.split for item in items} == {""}


def test_gray_levels_use_the_whole_range():
    levels = digits.gray_levels(np.arange(17.0))
    assert (levels[0], levels[-1]) == (0, 255)
    assert (np.diff(levels.astype(int)) > 0).all()
