"""A data set is found by its name, which is that of its module."""

import pytest

from thawline.config.choices import EMBEDDED
from thawline.config.errors import FieldError
from thawline.config.sections import DataSet, DataSetName, Role
from thawline.data import sources
from thawline.data.collection import Collection, Item
from thawline.data.sets import image_folder


def test_every_module_is_a_name_and_says_whether_it_needs_a_root():
    assert {"digits", "glyphs"} <= set(EMBEDDED)
    assert {"image_folder", "table", "cifar10", "dtd"} < {name.name for name in DataSetName}
    for name in DataSetName:
        if name.name in EMBEDDED:
            DataSet(dataset=name)
        else:
            with pytest.raises(FieldError, match=f"a folder .* because dataset is {name.name}"):
                DataSet(dataset=name)


def test_a_source_has_no_test_pictures_and_opens_its_own(monkeypatch):
    items = tuple(Item(str(number), "a", split) for number, split in enumerate(["test", "train", "test", ""]))
    monkeypatch.setattr(image_folder, "collect", lambda *_: Collection(items, lambda position: position))
    data = DataSet(dataset=DataSetName.image_folder, root=".")
    assert sources.collect(data, Role.target, 0).items == items
    source = sources.collect(data, Role.source, 0)
    assert [item.path for item in source.items] == ["1", "3"]
    assert [source.open(position) for position in range(2)] == [1, 3]
    assert source.notes == ("2 test pictures are not used: a source is not tested",)
