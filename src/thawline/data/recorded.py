"""What a run in MLflow says of the pictures it is made from."""

from thawline import tracking
from thawline.config.pictures import DataSet
from thawline.data.naming import called
from thawline.data.store import Store


def recorded(section: DataSet, **parts: Store) -> list[tracking.Data]:
    """Return an entry for each of `parts`, by the role it has in the run, that has any pictures.

    section: the configuration of the data set, which says what it is called.
    """
    return [
        tracking.Data(
            called(section) or "?",
            role,
            part.fingerprint,
            {"pictures": len(part), "classes": len(part.classes)},
        )
        for role, part in parts.items()
        if len(part)
    ]


def learned_from(section: DataSet, store: Store) -> list[tracking.Data]:
    """Return the entries of a training's pictures: those it learns from, and those it is validated on."""
    return recorded(section, training=store.part("train"), validation=store.part("val"))
