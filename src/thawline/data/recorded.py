"""What a run in MLflow says of the pictures it is made from."""

from pathlib import Path

from thawline import tracking
from thawline.config.pictures import DataSet
from thawline.data.store import Store

_ROLES = {"train": "training", "val": "validation"}


def recorded(store: Store, section: DataSet) -> list[tracking.Data]:
    """Return one entry for the training and one for the validation pictures in `store`, where there are any.

    section: the configuration of the data set, which is called like its folder or file, if it has one.
    """
    name = Path(section.root).stem if section.root else section.dataset and section.dataset.name
    parts = {role: store.part(split) for split, role in _ROLES.items()}
    return [
        tracking.Data(
            name or "?", role, part.fingerprint, {"pictures": len(part), "classes": len(part.classes)}
        )
        for role, part in parts.items()
        if len(part)
    ]
