"""The named data sets: what `source.dataset` and `target.dataset` may say."""

from thawline.config.sections import DataSet, DataSetName, Role, Source
from thawline.data import digits, glyphs, image_folder, torchvision_sets
from thawline.data.collection import Collection


def collect(data: DataSet, role: Role, seed: int) -> Collection:
    """The pictures of a data set that its role has a use for (a source has none for a test split).

    Raises `UserError` when they are not where the configuration says.
    """
    if data.dataset is DataSetName.glyphs:
        drawn = data if isinstance(data, Source) else Source(dataset=DataSetName.glyphs)
        return glyphs.collect(drawn.glyphs_per_class, drawn.scan_px, seed)
    if data.dataset is DataSetName.digits:
        return digits.collect()
    # DataSet itself refuses to be without them.
    assert data.dataset is not None
    assert data.root is not None
    if data.dataset is DataSetName.image_folder:
        return image_folder.collect(data.root, role)
    return torchvision_sets.collect(data.dataset, data.root, data.download, role)
