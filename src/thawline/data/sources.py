"""Find a data set by its name: what `source.dataset` and `target.dataset` may say."""

from importlib import import_module

from thawline.config.choices import EMBEDDED
from thawline.config.sections import DataSet, Role
from thawline.data.collection import Collection


def collect(data: DataSet, role: Role, seed: int) -> Collection:
    """Return the pictures of a data set that its role has a use for: a source has none for a test split.

    Raises `UserError` when they are not where the configuration says.
    """
    assert data.dataset is not None  # The configuration itself refuses to be without one.
    folder = "sets.embedded" if data.dataset.name in EMBEDDED else "sets"
    found: Collection = import_module(f"thawline.data.{folder}.{data.dataset.name}").collect(data, seed)
    return found.without_test() if role is Role.source else found
